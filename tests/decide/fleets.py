"""Pools, nodes and notebooks for refill's tests, in few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.decide.refill import NodeView, Snapshot
from controlplane.model import ContainerSpec, NodeState, Notebook, NotebookPhase, Pool, PoolSpec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)


def pool(*, revision: int = 1, changed_at: datetime = LONG_AGO, **spec: Any) -> Pool:
    if "warm_per_node" not in spec:
        spec.setdefault("warm", 3)
    made = PoolSpec(name="lab", container=ContainerSpec(image="lab:1"), **spec)
    return Pool(
        name="lab",
        revision=revision,
        spec=made,
        spec_hash=made.container.hash(),
        changed_at=changed_at,
    )


def node(
    name: str = "a", *, places: int = 100, occupied: int = 0, state: str = "ready"
) -> NodeView:
    return NodeView(
        node=name, state=NodeState(state), epoch=1, max_notebooks=places, occupied=occupied
    )


def notebook(
    number: int,
    phase: str = "ready",
    *,
    on: str = "a",
    revision: int = 1,
    minutes: float = 5,
) -> Notebook:
    """Notebook `number`, made and in its phase since so many minutes."""
    since = NOW - timedelta(minutes=minutes)
    return Notebook(
        notebook=f"00000000-0000-4000-8000-{number:012d}",
        pool="lab",
        revision=revision,
        node=on,
        phase=NotebookPhase(phase),
        version=1,
        created_at=since,
        phase_at=since,
        lease="11111111-0000-4000-8000-000000000000" if phase == "leased" else None,
    )


def notebooks(text: str, **more: Any) -> list[Notebook]:
    """`"3 ready 2 leased"` as notebooks."""
    words = text.split()
    found: list[Notebook] = []
    for count, phase in zip(words[::2], words[1::2], strict=True):
        found += [notebook(len(found) + i, phase, **more) for i in range(int(count))]
    return found


def snapshot(
    of: Pool,
    held: list[Notebook] | None = None,
    *,
    nodes: list[NodeView] | None = None,
    **more: Any,
) -> Snapshot:
    """With one node `a` whose `occupied` is what `held` says, unless nodes are given."""
    held = held or []
    if nodes is None:
        nodes = [node("a", occupied=len(held))]
    return Snapshot(
        pool=of, nodes=tuple(nodes), notebooks=tuple(held), taken_at=NOW, stamp=0, **more
    )
