"""What is: phases and legal moves, pool, revision, notebook, lease, node. Pure."""

from __future__ import annotations

from controlplane.model.limits import Limits
from controlplane.model.phases import (
    LEASE_MOVES,
    MAX_ATTEMPTS,
    NODE_MOVES,
    NOTEBOOK_MOVES,
    EndReason,
    LeasePhase,
    NodeState,
    NotebookPhase,
)
from controlplane.model.pool import (
    ContainerSpec,
    Mount,
    PoolSpec,
    Resources,
    Storage,
)
from controlplane.model.rows import Lease, Node, Notebook, Pool

__all__ = [
    "LEASE_MOVES",
    "MAX_ATTEMPTS",
    "NODE_MOVES",
    "NOTEBOOK_MOVES",
    "ContainerSpec",
    "EndReason",
    "Lease",
    "LeasePhase",
    "Limits",
    "Mount",
    "Node",
    "NodeState",
    "Notebook",
    "NotebookPhase",
    "Pool",
    "PoolSpec",
    "Resources",
    "Storage",
]
