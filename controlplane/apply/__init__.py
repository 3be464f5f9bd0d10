"""Where a plan becomes side effects: the row first, then what the row implies.

leases       what a lease's row implies: answers to hubs, activations, retirements
notebooks    what a notebook's row implies: creates and retirements
"""

from __future__ import annotations
