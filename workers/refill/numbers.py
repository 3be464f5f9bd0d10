"""What refill shows of a pool on /metrics."""

from __future__ import annotations

from collections import Counter

from controlplane import telemetry
from controlplane.apply.notebooks import Done
from controlplane.decide.refill import Snapshot
from controlplane.model import NodeState, NotebookPhase


def seen(snapshot: Snapshot) -> None:
    """Every phase of the pool, also those with nothing in them."""
    pool = snapshot.pool.name
    telemetry.pool_exists(pool)
    counted = Counter(n.phase for n in snapshot.notebooks)
    for phase in NotebookPhase:
        telemetry.NOTEBOOKS.labels(pool=pool, phase=phase.value).set(counted[phase])
    ready = sum(n.state is NodeState.READY for n in snapshot.nodes)
    telemetry.WARM_TARGET.labels(pool=pool).set(snapshot.pool.spec.target(ready))
    telemetry.WAITING.labels(pool=pool).set(snapshot.waiting)


def done(pool: str, what: Done) -> None:
    """What a look at this pool changed."""
    telemetry.CREATES.labels(pool=pool).inc(len(what.created))
    for notebook in what.retired:
        telemetry.RETIRES.labels(pool=pool, reason=notebook.reason or "unknown").inc()
