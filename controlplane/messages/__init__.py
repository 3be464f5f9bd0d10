"""What was seen, what is asked, what is ordered. Pure.

envelope     encode and decode; size, depth and version limits
asks         hub -> lease worker
answers      lease worker -> hub process
commands     worker -> one agent
reports      agent -> workers
happenings   what Postgres decided -> whoever listens
"""

from __future__ import annotations

from controlplane.messages.answers import (
    HubPools,
    HubSnapshot,
    KnownLease,
    KnownPool,
    LeaseClaimed,
    LeaseEnded,
    LeaseServing,
    LinePlaces,
    Place,
    PoolOutlook,
)
from controlplane.messages.asks import (
    EVERY_LEASE,
    HubHello,
    HubInventory,
    LeaseRelease,
    LeaseRequest,
    LineQuestion,
    PoolsQuestion,
)
from controlplane.messages.commands import (
    ActivateNotebook,
    CreateNotebook,
    KnownHub,
    NodeSurroundings,
    RetireNotebook,
)
from controlplane.messages.envelope import Envelope, Message, decode, encode, known_types
from controlplane.messages.happenings import Moved
from controlplane.messages.reports import (
    Held,
    NodeHeartbeat,
    NodeHello,
    NodeInventory,
    NotebookGone,
    Report,
    RunAccepted,
    RunActivated,
    RunExited,
    RunFailed,
    RunRefused,
    WarmupCreated,
    WarmupFailed,
    WarmupReady,
)
from controlplane.messages.words import EVERY_ID

__all__ = [
    "EVERY_ID",
    "EVERY_LEASE",
    "ActivateNotebook",
    "CreateNotebook",
    "Envelope",
    "Held",
    "HubHello",
    "HubInventory",
    "HubPools",
    "HubSnapshot",
    "KnownHub",
    "KnownLease",
    "KnownPool",
    "LeaseClaimed",
    "LeaseEnded",
    "LeaseRelease",
    "LeaseRequest",
    "LeaseServing",
    "LinePlaces",
    "LineQuestion",
    "Message",
    "Moved",
    "NodeHeartbeat",
    "NodeHello",
    "NodeInventory",
    "NodeSurroundings",
    "NotebookGone",
    "Place",
    "PoolOutlook",
    "PoolsQuestion",
    "Report",
    "RetireNotebook",
    "RunAccepted",
    "RunActivated",
    "RunExited",
    "RunFailed",
    "RunRefused",
    "WarmupCreated",
    "WarmupFailed",
    "WarmupReady",
    "decode",
    "encode",
    "known_types",
]
