"""What refill shows of itself on /metrics."""

from __future__ import annotations

from collections import Counter as Count

from prometheus_client import Counter, Gauge

from controlplane.apply.notebooks import Done
from controlplane.decide.refill import Snapshot
from controlplane.model import NodeState, NotebookPhase

NOTEBOOKS = Gauge(
    "greenroom_pool_notebooks", "Notebooks of a pool that are not gone", ["pool", "phase"]
)
TARGET = Gauge("greenroom_pool_warm_target", "Warm notebooks that a pool wants", ["pool"])
WAITING = Gauge("greenroom_pool_waiting", "People in a pool's line", ["pool"])
CREATES = Counter("greenroom_refill_creates", "Notebooks ordered", ["pool"])
RETIRES = Counter("greenroom_refill_retires", "Unheld notebooks sent away", ["pool", "reason"])
BUGS = Counter("greenroom_refill_bugs", "Looks at a pool that ended in an unexpected error")

_SHOWN = [phase for phase in NotebookPhase if phase is not NotebookPhase.GONE]


def seen(snapshot: Snapshot) -> None:
    """Every phase of the pool, also those with nothing in them."""
    pool = snapshot.pool.name
    counted = Count(n.phase for n in snapshot.notebooks)
    for phase in _SHOWN:
        NOTEBOOKS.labels(pool, phase.value).set(counted[phase])
    ready = sum(n.state is NodeState.READY for n in snapshot.nodes)
    TARGET.labels(pool).set(snapshot.pool.spec.target(ready))
    WAITING.labels(pool).set(snapshot.waiting)


def done(pool: str, what: Done) -> None:
    """What a look at this pool changed."""
    CREATES.labels(pool).inc(len(what.created))
    for notebook in what.retired:
        RETIRES.labels(pool, notebook.reason or "unknown").inc()
