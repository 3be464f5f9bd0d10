"""What holds for every pool that anybody can imagine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.refill import Failure, Plan, Snapshot, plan
from controlplane.model import NodeState, NotebookPhase
from tests.decide.fleets import NOW, node, notebook, pool, snapshot

NODES = ("a", "b", "c")
COMING = (NotebookPhase.CREATING, NotebookPhase.WARMING)
every = settings(derandomize=True, max_examples=300, deadline=None, database=None)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    held = [
        notebook(i, phase, on=on, revision=revision, minutes=minutes)
        for i, (phase, on, revision, minutes) in enumerate(
            draw(
                st.lists(
                    st.tuples(
                        st.sampled_from([p.value for p in NotebookPhase if p != "gone"]),
                        st.sampled_from(NODES),
                        st.integers(1, 3),
                        st.sampled_from([0.1, 5.0, 14.0, 16.0, 1300.0, 1380.0, 1500.0]),
                    ),
                    max_size=25,
                )
            )
        )
    ]
    per_node = Counter(n.node for n in held if n.phase not in ("gone", "lost"))
    nodes = [
        node(
            name,
            state=draw(st.sampled_from(list(NodeState))).value,
            places=draw(st.integers(1, 30)),
            occupied=per_node[name] + draw(st.integers(0, 3)),
        )
        for name in NODES[: draw(st.integers(0, 3))]
    ]
    target = draw(st.integers(0, 12))
    spec = {"warm": target} if draw(st.booleans()) else {"warm_per_node": target}
    of = pool(
        revision=draw(st.integers(2, 3)),
        changed_at=NOW - timedelta(minutes=draw(st.sampled_from([0, 10, 19, 21, 60]))),
        maximum=draw(st.none() | st.integers(0, 30)),
        refill_below=draw(st.none() | st.integers(1, 12)),
        paused=draw(st.booleans()) and draw(st.booleans()),
        **spec,
    )
    failures = tuple(
        Failure(revision=r, node=n, count=c, last_at=NOW - timedelta(seconds=s))
        for r, n, c, s in draw(
            st.lists(
                st.tuples(
                    st.integers(1, 3),
                    st.sampled_from(NODES),
                    st.integers(1, 12),
                    st.integers(0, 90),
                ),
                max_size=2,
                unique_by=lambda f: f[:2],
            )
        )
    )
    return snapshot(
        of,
        held,
        nodes=nodes,
        waiting=draw(st.integers(0, 6)),
        activating=draw(st.sampled_from([0, 0, 3])),
        failures=failures,
        same_revisions=frozenset(draw(st.sets(st.integers(1, 3)))),
    )


def offered(seen: Snapshot) -> set[str]:
    return {n.node for n in seen.nodes if n.state is NodeState.READY}


def count(made: Plan) -> int:
    return sum(c.count for c in made.create)


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
