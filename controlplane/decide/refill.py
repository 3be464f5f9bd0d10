"""How many notebooks, where, and when to give up. Pure.

Refill starts when fewer than `refill_below` of the wanted kind are warm or coming, and fills
to the target plus what the line needs. It never orders more than that, nor past the pool's
maximum, nor past a node's. Warm notebooks of an older revision, or too old ones, go one for
one as their replacements become ready.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from controlplane.decide.refill_fleet import Fleet
from controlplane.decide.refill_place import place, why_not
from controlplane.decide.refill_snapshot import (
    Create,
    Failure,
    NodeView,
    Plan,
    Retire,
    Snapshot,
)
from controlplane.model.rows import Notebook

__all__ = ["Create", "Failure", "NodeView", "Plan", "Retire", "Snapshot", "plan"]

SUPERSEDED_STAYS = timedelta(minutes=20)
# People who start right now get the processors first, but not for longer than this: a hundred
# who start at once take twelve seconds on two cores.
HOLD = timedelta(seconds=15)
# So does whoever has just been served, for the first page and the first kernel; but for a breath
# only when little is left: the last of a burst are still on their way through the hub.
REST = timedelta(seconds=6)
BREATH = timedelta(seconds=2)
_LOOK_WHILE_HELD_SECONDS = 0.5


def plan(snapshot: Snapshot, now: datetime, *, held_since: datetime | None = None) -> Plan:
    """What to create and to retire now.

    `held_since` is when the caller's first plan of an unbroken run of held ones was made;
    None when the last one was not held.
    """
    fleet = Fleet(snapshot, now)
    retire = (
        *(Retire(notebook=n.notebook, reason="failed") for n in fleet.failed),
        *_unwanted(fleet),
    )
    if snapshot.pool.spec.paused:
        return Plan(retire=retire, why=f"pool {snapshot.pool.name} is paused")
    wanted = list(_wanted(fleet))
    placed = place(fleet, wanted)
    why = why_not(fleet) if len(wanted) > placed.total() else ""
    if placed and _hold(fleet, held_since):
        return Plan(retire=retire, look_again_in=_LOOK_WHILE_HELD_SECONDS, why=why, held=True)
    create = tuple(Create(node=node, count=placed[node]) for node in sorted(placed))
    return Plan(create=create, retire=retire, look_again_in=_look_again_in(fleet), why=why)


def _wanted(fleet: Fleet) -> Iterator[str | None]:
    """One entry for each notebook that is missing: the node that it must be on, or None."""
    spec = fleet.snapshot.pool.spec
    # Whoever waits also takes an older one, so those are not ordered twice.
    line = max(0, fleet.snapshot.waiting - len(fleet.outgoing) - len(fleet.coming_old))
    if spec.warm_per_node is None:
        yield from [None] * _missing(
            fleet.available.total(), fleet.target, line, below=spec.refill_below
        )
        return
    # What a node has above its own number is there for the line.
    above = sum(max(0, fleet.available[node] - spec.warm_per_node) for node in fleet.nodes)
    yield from [None] * max(0, line - above)
    for node in sorted(fleet.nodes):
        have = fleet.available[node]
        yield from [node] * _missing(have, spec.warm_per_node, 0, below=spec.refill_below)


def _missing(have: int, target: int, line: int, *, below: int | None) -> int:
    threshold = target if below is None else min(below, target)
    return target + line - have if have - line < threshold else 0


def _unwanted(fleet: Fleet) -> Iterator[Retire]:
    """Unheld notebooks that go, each once, with the first reason that fits."""
    seen: set[str] = set()
    for reason, notebooks in _reasons(fleet):
        for notebook in notebooks:
            if notebook.notebook not in seen:
                seen.add(notebook.notebook)
                yield Retire(notebook=notebook.notebook, reason=reason)


def _reasons(fleet: Fleet) -> Iterator[tuple[str, Iterable[Notebook]]]:
    yield "draining", fleet.draining
    yield "stuck", fleet.stuck
    if fleet.snapshot.waiting:
        return
    yield "surplus", _surplus(fleet)
    for notebook in _replaced(fleet):
        yield "superseded" if fleet.is_superseded(notebook) else "stale", (notebook,)


def _surplus(fleet: Fleet) -> list[Notebook]:
    """Warm ones above the target, oldest first; what is coming is not counted on."""
    per_node = fleet.snapshot.pool.spec.warm_per_node
    over_all = fleet.ready[: max(0, len(fleet.ready) - fleet.target)]
    if per_node is None:
        return over_all
    more = Counter(n.node for n in fleet.ready)
    surplus = []
    for notebook in fleet.ready:
        if more[notebook.node] > per_node:
            more[notebook.node] -= 1
            surplus.append(notebook)
    return surplus if len(surplus) >= len(over_all) else over_all


def _replaced(fleet: Fleet) -> list[Notebook]:
    """Old ones whose replacements are ready: one for one, none before its time."""
    kept_by_rule = fleet.now < fleet.snapshot.pool.changed_at + SUPERSEDED_STAYS
    may_go = [n for n in fleet.outgoing if not (kept_by_rule and fleet.is_superseded(n))]
    if not fleet.ready and fleet.target:
        return []
    return may_go[: max(0, len(fleet.ready) + len(fleet.outgoing) - fleet.target)]


def _hold(fleet: Fleet, held_since: datetime | None) -> bool:
    """Whether creates wait: for activations under way, and a while for what follows them."""
    if fleet.snapshot.waiting and not fleet.ready and not fleet.outgoing:
        return False
    if fleet.snapshot.activating or _served_within(fleet, BREATH, left=1):
        return held_since is None or fleet.now - held_since < HOLD
    return _served_within(fleet, REST, left=fleet.target / 2)


def _served_within(fleet: Fleet, moment: timedelta, *, left: float) -> bool:
    """Whether somebody was served a moment ago, nobody waits and so many are still there."""
    served_at = fleet.snapshot.served_at
    if served_at is None or fleet.snapshot.waiting:
        return False
    return fleet.now - served_at < moment and len(fleet.ready) >= left


def _look_again_in(fleet: Fleet) -> float | None:
    """Seconds until time alone may change the plan."""
    moments = [fleet.retry_at(f) for f in fleet.failures.values()]
    moments += [fleet.stale_at(n) for n in fleet.ready]
    if fleet.outgoing:
        moments.append(fleet.snapshot.pool.changed_at + SUPERSEDED_STAYS)
    later = [(m - fleet.now).total_seconds() for m in moments if m is not None and m > fleet.now]
    return min(later, default=None)
