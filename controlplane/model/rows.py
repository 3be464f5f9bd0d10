"""The rows that Postgres holds, as values. Times are aware and come from Postgres' clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controlplane.model.phases import EndReason, LeasePhase, NodeState, NotebookPhase
from controlplane.model.pool import PoolSpec


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool with its newest revision."""

    name: str
    revision: int
    spec: PoolSpec
    spec_hash: str
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node as liveness decided. `epoch` is its agent's own, and only grows.

    `unreachable_hubs` is what its agent says: it is not offered to these.
    """

    node: str
    state: NodeState
    version: int
    epoch: int
    address: str
    max_notebooks: int
    last_seen: datetime
    reason: str = ""
    unreachable_hubs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """One container of a revision on a node, used once."""

    notebook: str
    pool: str
    revision: int
    node: str
    phase: NotebookPhase
    version: int
    created_at: datetime
    phase_at: datetime
    lease: str | None = None
    url: str | None = None
    container: str | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One person's claim, from the request to the end.

    `place` orders the line (lower is earlier); `sealed` is empty once an attempt served or
    the lease ended. `url` is there from `serving` on, and `home` then says `backup-ro` or
    `backup-rw` of a person who has the backup. `hub_process` is where answers go.
    """

    lease: str
    hub: str
    hub_process: str
    user: str
    server: str
    prefix: str
    pool: str
    phase: LeasePhase
    version: int
    attempt: int
    place: int
    created_at: datetime
    phase_at: datetime
    deadline: datetime
    notebook: str | None = None
    node: str | None = None
    url: str | None = None
    sealed: str | None = None
    cold: bool = False
    home: str = ""
    reason: EndReason | None = None
    detail: str = ""
    traceparent: str = ""
