from __future__ import annotations

import pytest

from controlplane.model import (
    LEASE_MOVES,
    NODE_MOVES,
    NOTEBOOK_MOVES,
    LeasePhase,
    NodeState,
    NotebookPhase,
)

ORDER = ["creating", "warming", "ready", "leased", "retiring", "gone"]


def reachable(start: NotebookPhase) -> set[NotebookPhase]:
    found: set[NotebookPhase] = set()
    ahead = [start]
    while ahead:
        for phase in NOTEBOOK_MOVES[ahead.pop()] - found:
            found.add(phase)
            ahead.append(phase)
    return found


@pytest.mark.parametrize(
    ("words", "table"),
    [(NotebookPhase, NOTEBOOK_MOVES), (LeasePhase, LEASE_MOVES), (NodeState, NODE_MOVES)],
)
def test_every_word_has_its_row(words: type, table: dict[str, frozenset[str]]) -> None:
    assert set(table) == set(words)


@pytest.mark.parametrize("phase", [p for p in NotebookPhase if p not in ("retiring", "lost")])
def test_no_notebook_comes_back_to_where_it_was(phase: NotebookPhase) -> None:
    assert phase not in reachable(phase)


def test_a_lost_notebook_that_is_found_again_only_retires() -> None:
    assert reachable(NotebookPhase.LOST) <= {"retiring", "gone", "lost"}


@pytest.mark.parametrize("phase", list(NotebookPhase))
def test_notebooks_only_move_forward(phase: NotebookPhase) -> None:
    if phase.value in ORDER:
        behind = {NotebookPhase(p) for p in ORDER[: ORDER.index(phase.value)]}

        assert not behind & reachable(phase)


@pytest.mark.parametrize("phase", [p for p in NotebookPhase if p != "ready"])
def test_nothing_that_left_ready_is_leased_and_only_ready_is(phase: NotebookPhase) -> None:
    assert NotebookPhase.LEASED not in NOTEBOOK_MOVES[phase]


@pytest.mark.parametrize("phase", [p for p in NotebookPhase if p != "gone"])
def test_every_notebook_can_go(phase: NotebookPhase) -> None:
    assert NotebookPhase.GONE in reachable(phase)


def test_gone_is_the_end() -> None:
    assert NOTEBOOK_MOVES[NotebookPhase.GONE] == frozenset()


def test_a_leased_notebook_never_fails_back_to_refill() -> None:
    assert NotebookPhase.FAILED not in reachable(NotebookPhase.LEASED)


def test_the_one_move_back_of_a_lease_is_claimed_to_waiting() -> None:
    order = list(LeasePhase)
    back = {
        (one, other)
        for one, others in LEASE_MOVES.items()
        for other in others
        if order.index(other) < order.index(one)
    }

    assert back == {(LeasePhase.CLAIMED, LeasePhase.WAITING)}


@pytest.mark.parametrize("phase", [LeasePhase.WAITING, LeasePhase.CLAIMED, LeasePhase.SERVING])
def test_every_lease_can_end_and_stays_ended(phase: LeasePhase) -> None:
    assert LeasePhase.ENDED in LEASE_MOVES[phase]
    assert LEASE_MOVES[LeasePhase.ENDED] == frozenset()


def test_a_lease_serves_only_from_claimed() -> None:
    assert [p for p, to in LEASE_MOVES.items() if LeasePhase.SERVING in to] == [LeasePhase.CLAIMED]


@pytest.mark.parametrize("state", list(NodeState))
def test_a_node_in_any_state_can_be_ready_again(state: NodeState) -> None:
    assert state is NodeState.READY or NodeState.READY in NODE_MOVES[state]


def test_a_lost_node_is_not_merely_suspect_again() -> None:
    assert NodeState.SUSPECT not in NODE_MOVES[NodeState.LOST]
