"""What holds for every pool that anybody can imagine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.refill import Failure, NodeView, Plan, Snapshot, plan
from controlplane.model import NodeState, Notebook, NotebookPhase, Pool
from tests.decide.fleets import NOW, node, notebook, pool, snapshot

NODES = ("a", "b", "c")
COMING = (NotebookPhase.CREATING, NotebookPhase.WARMING)
every = settings(derandomize=True, max_examples=400, deadline=None, database=None)


# What matters must come often, or the properties below hold of nothing.
PHASES = (
    *["ready"] * 8,
    *["leased"] * 3,
    *["creating", "warming", "retiring"] * 2,
    *["failed", "lost"],
)
STATES = (*["ready"] * 8, "suspect", "cordoned", "draining", "lost")
MINUTES = (0.1, 1.0, 5.0, 8.0, 14.0, 16.0, 60.0, 1300.0, 1380.0, 1500.0)


def imagined(chance: Random) -> Snapshot:
    """A pool, its nodes and notebooks, as chance has it."""
    held = [
        notebook(
            number,
            chance.choice(PHASES),
            on=chance.choice(NODES),
            revision=chance.choice([1, 2, 2, 3, 3, 3]),
            minutes=chance.choice(MINUTES),
        )
        for number in range(chance.randint(0, 25))
    ]
    return snapshot(
        imagined_pool(chance),
        held,
        nodes=imagined_nodes(chance, held),
        waiting=few(chance, 5),
        activating=few(chance, 2),
        failures=imagined_failures(chance),
        same_revisions=frozenset(chance.sample([1, 2, 3], few(chance, 2))),
    )


def imagined_nodes(chance: Random, held: list[Notebook]) -> list[NodeView]:
    per_node = Counter(n.node for n in held if n.phase not in ("gone", "lost"))
    return [
        node(
            name,
            state=chance.choice(STATES),
            places=chance.choice([3, 10, 30, 60]),
            occupied=per_node[name] + few(chance, 3),
        )
        for name in NODES[: chance.choice([0, 1, 1, 2, 2, 3, 3])]
    ]


def imagined_pool(chance: Random) -> Pool:
    kind = chance.choice(["warm", "warm_per_node"])
    return pool(
        revision=chance.choice([2, 3, 3]),
        changed_at=NOW - timedelta(minutes=chance.choice([0, 19, 21, 60, 90])),
        maximum=chance.choice([None, chance.randint(0, 40)]),
        refill_below=chance.choice([None, chance.randint(1, 12)]),
        paused=chance.random() < 0.1,
        **{kind: chance.randint(0, 8)},
    )


def imagined_failures(chance: Random) -> tuple[Failure, ...]:
    return tuple(
        Failure(
            revision=chance.randint(2, 3),
            node=name,
            count=chance.randint(1, 12),
            last_at=NOW - timedelta(seconds=chance.randint(0, 90)),
        )
        for name in NODES[: few(chance, 2)]
    )


def few(chance: Random, most: int) -> int:
    """Zero as often as not."""
    return max(0, chance.randint(-most, most))


def snapshots() -> st.SearchStrategy[Snapshot]:
    return st.integers(0, 2**32).map(lambda seed: imagined(Random(seed)))


def offered(seen: Snapshot) -> set[str]:
    return {n.node for n in seen.nodes if n.state is NodeState.READY}


def count(made: Plan) -> int:
    return sum(c.count for c in made.create)


def test_the_imagined_pools_reach_every_kind_of_plan() -> None:
    met: Counter[str] = Counter()

    @every
    @given(snapshots())
    def imagine(seen: Snapshot) -> None:
        made = plan(seen, NOW, held_since=NOW - timedelta(minutes=1))
        met.update({r.reason for r in made.retire})
        spec = seen.pool.spec
        met["creates"] += bool(made.create)
        met["creates near a maximum"] += bool(made.create) and spec.maximum is not None
        met["creates per node"] += bool(made.create) and spec.warm_per_node is not None
        met["at capacity"] += "at capacity" in made.why
        met["failing"] += "failed to warm" in made.why

    imagine()

    reasons = {"surplus", "superseded", "stale", "draining", "stuck", "failed"}
    others = {"creates", "creates near a maximum", "creates per node", "at capacity", "failing"}
    assert {what for what in reasons | others if met[what] < 2} == set()


@every
@given(snapshots())
def test_never_more_than_wanted_plus_what_people_hold(seen: Snapshot) -> None:
    made = plan(seen, NOW, held_since=NOW - timedelta(minutes=1))

    same = seen.same_revisions | {seen.pool.revision}
    young = NOW - timedelta(hours=21)
    counted = [
        n
        for n in seen.notebooks
        if n.node in offered(seen)
        and n.revision in same
        and (n.phase in COMING or (n.phase is NotebookPhase.READY and n.created_at > young))
    ]
    wanted = seen.pool.spec.target(len(offered(seen))) + seen.waiting
    if seen.pool.spec.warm_per_node is None:
        assert count(made) <= max(0, wanted - len(counted))
    assert count(made) <= wanted


@every
@given(snapshots())
def test_no_node_and_no_pool_is_ever_filled_past_its_maximum(seen: Snapshot) -> None:
    made = plan(seen, NOW, held_since=NOW - timedelta(minutes=1))

    views = {n.node: n for n in seen.nodes}
    for create in made.create:
        assert create.count > 0
        assert views[create.node].state is NodeState.READY
        assert views[create.node].occupied + create.count <= views[create.node].max_notebooks
    lost = {n.node for n in seen.nodes if n.state is NodeState.LOST}
    alive = [
        n
        for n in seen.notebooks
        if n.phase == "leased" or (n.phase != "lost" and n.node not in lost)
    ]
    if seen.pool.spec.maximum is not None and made.create:
        assert len(alive) + count(made) <= seen.pool.spec.maximum


@every
@given(snapshots())
def test_a_leased_notebook_is_never_retired(seen: Snapshot) -> None:
    held = {n.notebook for n in seen.notebooks if n.phase is NotebookPhase.LEASED}
    retired = [r.notebook for r in plan(seen, NOW).retire]

    assert not held.intersection(retired)
    assert len(retired) == len(set(retired))


@every
@given(snapshots())
def test_superseded_ones_go_only_when_replaced_and_not_before_twenty_minutes(
    seen: Snapshot,
) -> None:
    made = plan(seen, NOW)

    gone = {r.notebook for r in made.retire}
    superseded = [r for r in made.retire if r.reason == "superseded"]
    ready = [n for n in seen.notebooks if n.phase is NotebookPhase.READY]
    left = [n for n in ready if n.node in offered(seen) and n.notebook not in gone]
    if superseded:
        assert seen.pool.changed_at + timedelta(minutes=20) <= NOW
        maximum = seen.pool.spec.maximum
        busy = sum(n.phase in ("leased", "retiring", "failed") for n in seen.notebooks)
        target = seen.pool.spec.target(len(offered(seen)))
        assert len(left) >= (target if maximum is None else max(0, min(target, maximum - busy)))


@every
@given(snapshots())
def test_warm_notebooks_are_kept_while_anybody_waits(seen: Snapshot) -> None:
    waited = replace(seen, waiting=max(1, seen.waiting))

    assert {r.reason for r in plan(waited, NOW).retire} <= {"failed", "stuck", "draining"}


@every
@given(snapshots())
def test_what_was_planned_is_not_planned_again_once_it_is_ordered(seen: Snapshot) -> None:
    first = plan(seen, NOW, held_since=NOW - timedelta(minutes=1))
    ordered = [
        notebook(
            1000 + 100 * place + i, "creating", on=c.node, revision=seen.pool.revision, minutes=0
        )
        for place, c in enumerate(first.create)
        for i in range(c.count)
    ]
    more = Counter(n.node for n in ordered)
    nodes = tuple(replace(n, occupied=n.occupied + more[n.node]) for n in seen.nodes)

    second = plan(
        replace(seen, notebooks=seen.notebooks + tuple(ordered), nodes=nodes),
        NOW,
        held_since=NOW - timedelta(minutes=1),
    )

    target = seen.pool.spec.target(len(offered(seen))) + seen.waiting
    assert count(first) + count(second) <= target


@every
@given(snapshots())
def test_the_same_snapshot_gives_the_same_plan_in_any_order(seen: Snapshot) -> None:
    turned = replace(seen, notebooks=seen.notebooks[::-1], nodes=seen.nodes[::-1])
    one, other = plan(seen, NOW), plan(turned, NOW)

    assert one.create == other.create
    assert set(one.retire) == set(other.retire)
