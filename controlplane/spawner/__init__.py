"""JupyterHub's door. Runs inside the hub: needs JupyterHub and the AMQP client, no more.

spawner        GreenroomSpawner: the contract with the hub
asking         what is checked and sealed before anybody is asked
options        what a user may choose
configuration  what an admin may set, and our defaults
traits         which inherited traits are honoured, owned by the pool, or without meaning
outcome        what a person is told when it does not work
refusal        how the hub is told
claim          one lease as this process knows it
memory         the last snapshot
road           what is needed of a broker, and where it is
door           the connection that all spawners share
entrance       settings and the hub's id
identity       ids: this hub, this process, new leases
hub_url        whether notebooks can reach the hub
"""

from __future__ import annotations

from controlplane.spawner.spawner import GreenroomSpawner

__all__ = ["GreenroomSpawner"]
