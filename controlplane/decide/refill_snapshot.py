"""What refill looks at and what it decides: values only, built by the Postgres client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controlplane.model.phases import NodeState
from controlplane.model.rows import Notebook, Pool


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """A node as refill sees it.

    `occupied` counts its notebooks of every pool that may still have a container: all
    phases but gone and lost, so creates in flight and those going away are in it.
    """

    node: str
    state: NodeState
    epoch: int
    max_notebooks: int
    occupied: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Warm-ups of a revision that failed on a node, in a row.

    `count` is how many moved to failed within the last hour and after the last notebook of
    that revision and node that became ready and did not fail; `last_at` and `reason` are of
    the newest one.
    """

    revision: int
    node: str
    count: int
    last_at: datetime
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One pool at one moment of Postgres' clock (`taken_at`).

    notebooks       those of this pool that are not gone
    waiting         leases of this pool in phase waiting
    activating      leases of any pool in phase claimed
    served_at       when the newest of those that serve, of any pool, began to
    same_revisions  revisions whose `spec_hash` is the newest one's, the newest included
    stamp           the pool's create counter; `Notebooks.create` refuses another one
    """

    pool: Pool
    nodes: tuple[NodeView, ...]
    notebooks: tuple[Notebook, ...]
    taken_at: datetime
    stamp: int
    waiting: int = 0
    activating: int = 0
    served_at: datetime | None = None
    failures: tuple[Failure, ...] = ()
    same_revisions: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Create:
    """So many new notebooks of the newest revision on this node."""

    node: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Retire:
    """A notebook that nobody holds goes away; `reason` is one word for the row."""

    notebook: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What refill does now.

    `look_again_in` is seconds until the passing of time alone may change the plan; `why`
    says in sentences what keeps the pool from its target, empty when nothing does. `held`:
    creates were left out because people are starting.
    """

    create: tuple[Create, ...] = ()
    retire: tuple[Retire, ...] = ()
    look_again_in: float | None = None
    why: str = ""
    held: bool = False
