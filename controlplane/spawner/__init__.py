"""JupyterHub's door. Runs inside the hub: needs JupyterHub and the AMQP client, no more.

spawner        GreenroomSpawner: the contract with the hub
asking         what is checked and sealed before anybody is asked
choosing       the pool that a start is for
options        what a user may choose
form           the form that offers pools
offers         what can be had now
reached        which limit a start would break
configuration  what an admin may set, and our defaults
traits         which inherited traits are honoured, owned by the pool, or without meaning
outcome        what a person is told when it does not work
refusal        how the hub is told
claim          one lease as this process knows it
keeping        a start that steps aside, and whoever comes back
places         who waits in line, in a start() or outside
in_line        the refusal that asks to come back
patience       how long to wait for others on a busy loop
page           what a browser shows meanwhile
resumption     what a later start needs to take up a lease
memory         the last snapshot
road           what is needed of a broker, and where it is
door           the connection that all spawners share
spans          a long list in parts
entrance       settings and the hub's id
identity       ids: this hub, this process, new leases
hub_url        whether notebooks can reach the hub
"""

from __future__ import annotations

from controlplane.spawner.spawner import GreenroomSpawner

__all__ = ["GreenroomSpawner"]
