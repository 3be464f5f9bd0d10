from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.liveness import Plan, plan, recovery
from controlplane.model import Node, NodeState
from controlplane.model.phases import NODE_MOVES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)


def node(name: str, silent_seconds: float, state: str = "ready") -> Node:
    return Node(
        node=name,
        state=NodeState(state),
        version=4,
        epoch=7,
        address="10.0.0.1",
        max_notebooks=10,
        last_seen=NOW - timedelta(seconds=silent_seconds),
    )


def suspects(made: Plan) -> list[str]:
    return [m.node for m in made.moves if m.state is NodeState.SUSPECT]


@pytest.mark.parametrize(("seconds", "suspect"), [(0, []), (5.9, []), (6, ["b"]), (600, ["b"])])
def test_a_node_is_suspect_after_six_seconds_of_silence(seconds: float, suspect: list[str]) -> None:
    nodes = [node("a", 1), node("b", seconds), node("c", 1)]

    assert suspects(plan(nodes, NOW, watching_since=LONG_AGO)) == suspect


def test_a_move_holds_for_the_version_that_was_seen_and_says_why() -> None:
    made = plan([node("a", 1), node("b", 8)], NOW, watching_since=LONG_AGO)

    assert [(m.version, m.reason) for m in made.moves] == [(4, "silent for 8 s")]


def test_when_over_half_fall_silent_at_once_nothing_changes_and_an_alarm_is_raised() -> None:
    made = plan([node("a", 7), node("b", 9), node("c", 1)], NOW, watching_since=LONG_AGO)

    assert made.moves == ()
    assert "2 of 3 nodes fell silent at once (a, b)" in made.alarm


def test_half_of_the_nodes_is_not_over_half() -> None:
    assert suspects(plan([node("a", 7), node("b", 1)], NOW, watching_since=LONG_AGO)) == ["a"]


def test_nodes_that_were_suspect_before_are_not_silent_at_once() -> None:
    nodes = [node("a", 900, "suspect"), node("b", 7), node("c", 1), node("d", 1)]

    assert suspects(plan(nodes, NOW, watching_since=LONG_AGO)) == ["b"]


def test_a_watcher_that_has_just_started_does_not_know_who_is_silent() -> None:
    nodes = [node("a", 1), node("b", 60), node("c", 1)]

    assert plan(nodes, NOW, watching_since=NOW - timedelta(seconds=5)) == Plan()
    assert suspects(plan(nodes, NOW, watching_since=NOW - timedelta(seconds=6))) == ["b"]


@pytest.mark.parametrize("state", ["cordoned", "draining", "suspect", "lost"])
def test_only_ready_nodes_become_suspect(state: str) -> None:
    nodes = [node("a", 60, state), node("b", 1)]

    assert plan(nodes, NOW, watching_since=LONG_AGO) == Plan()


def test_without_nodes_nothing_is_done() -> None:
    assert plan([], NOW, watching_since=LONG_AGO) == Plan()


def test_an_inventory_brings_a_suspect_node_back() -> None:
    move = recovery(node("a", 0, "suspect"), epoch=7)

    assert move is not None
    assert move.state is NodeState.READY


@pytest.mark.parametrize("epoch", [6, 8])
def test_an_inventory_of_another_epoch_brings_nothing_back(epoch: int) -> None:
    assert recovery(node("a", 0, "suspect"), epoch=epoch) is None


@pytest.mark.parametrize("state", ["ready", "cordoned", "draining", "lost"])
def test_an_inventory_changes_no_other_state(state: str) -> None:
    assert recovery(node("a", 0, state), epoch=7) is None


@settings(derandomize=True, max_examples=200, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from([s.value for s in NodeState])), max_size=9
    )
)
def test_moves_are_legal_and_never_take_over_half_of_what_is_offered(
    seen: list[tuple[int, str]],
) -> None:
    nodes = [node(f"n{i}", seconds, state) for i, (seconds, state) in enumerate(seen)]

    made = plan(nodes, NOW, watching_since=LONG_AGO)

    states = {n.node: n.state for n in nodes}
    assert all(m.state in NODE_MOVES[states[m.node]] for m in made.moves)
    assert 2 * len(made.moves) <= sum(n.state is NodeState.READY for n in nodes)
    assert not (made.moves and made.alarm)
