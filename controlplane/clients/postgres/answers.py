"""What the client answers with, and how rows (as JSON) become values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar

from controlplane.messages import EVERY_ID, NodeInventory
from controlplane.model.phases import EndReason, LeasePhase, NodeState, NotebookPhase
from controlplane.model.pool import PoolSpec
from controlplane.model.rows import Lease, Node, Notebook, Pool

Row = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Granted:
    """A lease after a move, and everything else that the move changed.

    `notebook` is the one that the lease uses now and `epoch` its node's; both None while it
    waits, or when it ended without one. `retired` are notebooks that this move sent to
    retiring, `ended` are other leases that it ended (superseded ones). `now` is Postgres' time
    in that transaction: budgets in milliseconds count from it.
    """

    lease: Lease
    now: datetime
    notebook: Notebook | None = None
    epoch: int | None = None
    retired: tuple[Notebook, ...] = ()
    ended: tuple[Lease, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Due:
    """A create or a retire whose answer is late; `spec` is there for a create."""

    order: Literal["create", "retire"]
    notebook: Notebook
    epoch: int
    spec: PoolSpec | None = None
    spec_hash: str = ""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """Which sweeps of leases would find something; `waiting` are pools with a line."""

    waiting: tuple[str, ...]
    expire: bool
    unaccepted: bool
    due: bool


@dataclass(frozen=True, kw_only=True)
class Change:
    """What applying a pool did; `unchanged` wrote nothing."""

    pool: str
    what: Literal["created", "changed", "unchanged", "removed"]
    revision: int


@dataclass(frozen=True, kw_only=True)
class Violation:
    """An invariant that does not hold, with the key of the row that breaks it."""

    invariant: str
    key: str
    detail: str


def lease(row: Row) -> Lease:
    """A row of `leases`."""
    return _build(Lease, row)


def notebook(row: Row) -> Notebook:
    """A row of `notebooks`."""
    return _build(Notebook, row)


def node(row: Row) -> Node:
    """A row of `nodes` with `last_seen` and `unreachable_hubs` beside it."""
    return _build(Node, {**row, "unreachable_hubs": tuple(row.get("unreachable_hubs") or ())})


def pool(row: Row) -> Pool:
    """A row of `pools`; a removed one wants nothing and takes nobody."""
    built = _build(Pool, row)
    if row["phase"] == "applied":
        return built
    empty = {"warm": 0, "warm_per_node": None, "maximum": 0, "paused": True}
    return Pool(**vars(built) | {"spec": built.spec.model_copy(update=empty)})


def granted(row: Row) -> Granted:
    """What the SQL function `granted` made."""
    return Granted(
        lease=lease(row["lease"]),
        now=moment(row["now"]),
        notebook=notebook(row["notebook"]) if row["notebook"] else None,
        epoch=row["epoch"],
        retired=tuple(notebook(each) for each in row["retired"]),
        ended=tuple(lease(each) for each in row["ended"]),
    )


def due(row: Row) -> Granted | Due:
    """An activation as `Granted`, a create or retire as `Due`."""
    if row["order"] == "activate":
        return granted(row)
    return Due(
        order=row["order"],
        notebook=notebook(row["notebook"]),
        epoch=row["epoch"],
        spec=PoolSpec.model_validate(row["spec"]) if row["spec"] else None,
        spec_hash=row["spec_hash"] or "",
    )


_CONVERT: dict[tuple[type[Any], str], Callable[[Any], Any]] = {
    (Lease, "phase"): LeasePhase,
    (Lease, "reason"): EndReason,
    (Notebook, "phase"): NotebookPhase,
    (Node, "state"): NodeState,
    (Pool, "spec"): PoolSpec.model_validate,
}
_TIMES = frozenset(
    {"created_at", "phase_at", "deadline", "last_seen", "changed_at", "taken_at", "last_at"}
)


def bounded(inventory: NodeInventory) -> str:
    """An inventory as our functions read it: `complete` for the ids of a span that is there."""
    span = inventory.span
    about = {"complete": span is not None, "between": span or EVERY_ID}
    return inventory.model_copy(update=about).model_dump_json()


def moment(text: str) -> datetime:
    """A time as Postgres writes it into JSON."""
    return datetime.fromisoformat(text)


def _build(kind: type[T], row: Row) -> T:
    """The fields of `kind` out of a row, which may have more columns than that."""
    return kind(
        **{
            name: value if value is None or convert is None else convert(value)
            for name, convert in _conversions(kind)  # type: ignore[arg-type]  # a type is hashable
            for value in (row[name],)
        }
    )


@cache
def _conversions(kind: type[Any]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """Every field of a kind with what its value goes through."""
    return tuple(
        (f.name, moment if f.name in _TIMES else _CONVERT.get((kind, f.name))) for f in fields(kind)
    )
