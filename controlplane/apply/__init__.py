"""Where a plan becomes side effects: the row first, then what the row implies.

leases       what a lease's row implies: answers to hubs, activations, retirements
notebooks    what a notebook's row implies: creates and retirements
hubs         what a hub's rows imply: its snapshot, and places in the lines
index        what Postgres holds ready, into Redis
outbox       committed events become messages
sending      one message that a row implies, and how a handful of them is sent
stages       how long the first stages of a lease took, for the line that tells of all
"""

from __future__ import annotations
