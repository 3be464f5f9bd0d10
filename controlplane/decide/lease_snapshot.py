"""What the line's decision looks at: values only, built by the Postgres client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controlplane.model.rows import Lease


@dataclass(frozen=True, kw_only=True)
class Line:
    """One pool with people waiting, at one moment of Postgres' clock (`taken_at`).

    waiting       its leases in phase waiting, first in line first
    ready         ready notebooks, also those on nodes that are not offered now
    warming       creating and warming
    held          leased
    leaving       retiring and failed: still on their nodes
    maximum       the pool's limit, None without one
    nodes         nodes in state ready
    free          notebooks that those nodes still have room for, all pools together
    failures      warm-ups of the newest revision that failed in the last ten minutes
    cut_off       hubs of these leases that no ready node reaches
    warm_seconds  median time from creating to ready of its last notebooks, None without any
    """

    pool: str
    taken_at: datetime
    waiting: tuple[Lease, ...]
    ready: int
    warming: int
    held: int
    leaving: int
    maximum: int | None
    paused: bool
    nodes: int
    free: int
    failures: int
    warm_seconds: float | None
    cut_off: tuple[str, ...] = ()
