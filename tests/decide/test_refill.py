from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controlplane.decide.refill import Failure, Plan, plan
from tests.decide.fleets import NOW, node, notebook, notebooks, pool, snapshot


def created(made: Plan) -> dict[str, int]:
    return {c.node: c.count for c in made.create}


def retired(made: Plan) -> dict[int, str]:
    return {int(r.notebook[-12:]): r.reason for r in made.retire}


@pytest.mark.parametrize(
    ("held", "waiting", "maximum", "creates"),
    [
        ("", 0, None, 3),
        ("3 ready", 0, None, 0),
        ("2 ready", 0, None, 1),
        ("1 ready 1 warming 1 creating", 0, None, 0),
        ("1 ready 1 warming", 0, None, 1),
        ("3 leased", 0, None, 3),
        ("", 2, None, 5),
        ("3 creating", 2, None, 2),
        ("5 creating", 2, None, 0),
        ("3 retiring", 0, None, 3),
        ("3 lost", 0, None, 3),
        ("3 failed", 0, None, 3),
        ("8 leased", 0, 10, 2),
        ("8 leased 2 retiring", 0, 10, 0),
        ("8 leased 1 failed", 0, 10, 1),
        ("10 leased", 5, 10, 0),
        ("6 leased", 5, 10, 4),
    ],
)
def test_creates_fill_to_the_target_and_the_line_within_the_maximum(
    held: str, waiting: int, maximum: int | None, creates: int
) -> None:
    seen = snapshot(pool(warm=3, maximum=maximum), notebooks(held), waiting=waiting)

    assert sum(created(plan(seen, NOW)).values()) == creates


def test_at_target_nothing_is_done() -> None:
    assert plan(replace(snapshot(pool(), notebooks("3 ready 4 leased"))), NOW).create == ()
    assert plan(snapshot(pool(), notebooks("3 ready 4 leased")), NOW).retire == ()


def test_refill_below_lets_the_pool_sink_before_it_fills_to_the_target() -> None:
    of = pool(warm=10, refill_below=6)

    assert created(plan(snapshot(of, notebooks("6 ready")), NOW)) == {}
    assert created(plan(snapshot(of, notebooks("5 ready")), NOW)) == {"a": 5}


def test_containers_going_away_keep_their_place_on_a_node() -> None:
    held = notebooks("8 retiring 1 ready")
    seen = snapshot(pool(warm=5), held, nodes=[node(places=10, occupied=9)])

    assert created(plan(seen, NOW)) == {"a": 1}


def test_a_full_node_is_named() -> None:
    made = plan(snapshot(pool(), nodes=[node(places=4, occupied=4)]), NOW)

    assert made.create == ()
    assert "no place left on a" in made.why


def test_a_reached_maximum_is_named() -> None:
    made = plan(snapshot(pool(warm=3, maximum=5), notebooks("4 leased 1 retiring"), waiting=1), NOW)

    assert "maximum = 5" in made.why


def test_without_a_ready_node_nothing_is_ordered_and_the_plan_says_so() -> None:
    made = plan(snapshot(pool(), nodes=[node(state="suspect"), node("b", state="cordoned")]), NOW)

    assert made.create == ()
    assert made.why == "no node is ready"


def test_creates_go_where_fewest_are_warm_or_coming() -> None:
    held = [notebook(1, on="a"), notebook(2, on="a"), notebook(3, "warming", on="b")]
    nodes = [node("a", occupied=2), node("b", occupied=1), node("c", occupied=0)]

    made = plan(snapshot(pool(warm=9), held, nodes=nodes), NOW)

    assert created(made) == {"a": 1, "b": 2, "c": 3}


def test_among_equals_the_node_with_most_free_places_comes_first() -> None:
    nodes = [node("a", places=10), node("b", places=50)]

    assert created(plan(snapshot(pool(warm=1), nodes=nodes), NOW)) == {"b": 1}


@pytest.mark.parametrize("state", ["suspect", "lost", "cordoned", "draining"])
def test_warm_notebooks_of_a_node_that_is_not_offered_are_replaced_elsewhere(state: str) -> None:
    held = notebooks("3 ready", on="a")
    nodes = [node("a", state=state, occupied=3), node("b")]

    assert created(plan(snapshot(pool(), held, nodes=nodes), NOW)) == {"b": 3}


def test_a_draining_node_loses_its_warm_notebooks_and_keeps_its_people() -> None:
    held = [notebook(1), notebook(2, "creating"), notebook(3, "leased")]

    made = plan(snapshot(pool(warm=0), held, nodes=[node(state="draining")]), NOW)

    assert retired(made) == {1: "draining", 2: "draining"}


def test_unheld_notebooks_of_a_lost_node_leave_room_under_the_maximum() -> None:
    held = notebooks("3 ready 2 leased", on="a")
    nodes = [node("a", state="lost"), node("b")]

    assert created(plan(snapshot(pool(warm=3, maximum=5), held, nodes=nodes), NOW)) == {"b": 3}


def test_each_node_is_filled_to_its_own_number() -> None:
    held = [notebook(1, on="a"), notebook(2, on="a"), notebook(3, on="b")]
    nodes = [node("a", occupied=2), node("b", occupied=1), node("c")]

    made = plan(snapshot(pool(warm_per_node=2), held, nodes=nodes), NOW)

    assert created(made) == {"b": 1, "c": 2}


def test_with_numbers_per_node_the_line_is_spread_on_top() -> None:
    made = plan(snapshot(pool(warm_per_node=1), nodes=[node("a"), node("b")], waiting=2), NOW)

    assert created(made) == {"a": 2, "b": 2}


def test_with_numbers_per_node_the_fuller_one_loses_its_surplus() -> None:
    held = [notebook(i, on="a", minutes=9 - i) for i in (1, 2, 3)]
    seen = snapshot(pool(warm_per_node=1), held, nodes=[node("a", occupied=3), node("b")])

    made = plan(seen, NOW)

    assert retired(made) == {1: "surplus", 2: "surplus"}
    assert created(made) == {"b": 1}


def test_a_paused_pool_creates_nothing_and_keeps_its_target() -> None:
    made = plan(snapshot(pool(warm=3, paused=True), notebooks("2 ready 1 failed"), waiting=2), NOW)

    assert made.create == ()
    assert retired(made) == {2: "failed"}
    assert made.why == "pool lab is paused"


def test_a_removed_pool_loses_what_is_warm_and_keeps_its_people() -> None:
    removed = pool(warm=0, maximum=0, paused=True)

    made = plan(snapshot(removed, notebooks("2 ready 1 leased")), NOW)

    assert made.create == ()
    assert retired(made) == {0: "surplus", 1: "surplus"}


def test_what_is_above_a_lowered_target_goes_oldest_first() -> None:
    held = [notebook(1, minutes=1), notebook(2, minutes=30), notebook(3, minutes=10)]

    assert retired(plan(snapshot(pool(warm=1), held), NOW)) == {2: "surplus", 3: "surplus"}


def test_nothing_is_surplus_while_anybody_waits() -> None:
    assert plan(snapshot(pool(warm=1), notebooks("3 ready"), waiting=1), NOW).retire == ()


def test_a_lowered_maximum_takes_warm_notebooks_and_never_people() -> None:
    seen = snapshot(pool(warm=3, maximum=4), notebooks("3 ready 3 leased"))

    assert retired(plan(seen, NOW)) == {0: "surplus", 1: "surplus"}


def test_containers_going_away_count_against_a_lowered_maximum() -> None:
    seen = snapshot(pool(warm=3, maximum=6), notebooks("3 ready 2 leased 2 retiring"))

    assert retired(plan(seen, NOW)) == {0: "surplus"}


def test_the_maximum_holds_over_the_numbers_of_single_nodes() -> None:
    nodes = [node("a"), node("b")]

    made = plan(snapshot(pool(warm_per_node=3, maximum=4), nodes=nodes), NOW)

    assert sum(created(made).values()) == 4


def test_no_more_than_sixteen_are_being_made_on_a_node_at_once() -> None:
    held = notebooks("10 creating")

    assert created(plan(snapshot(pool(warm=40), held), NOW)) == {"a": 6}


def test_failed_containers_are_sent_away() -> None:
    assert retired(plan(snapshot(pool(warm=0), notebooks("2 failed")), NOW)) == {
        0: "failed",
        1: "failed",
    }


def test_a_create_that_never_ends_is_given_up() -> None:
    held = [notebook(1, "creating", minutes=16), notebook(2, "warming", minutes=14)]

    assert retired(plan(snapshot(pool(warm=2), held), NOW)) == {1: "stuck"}


def failing(count: int, seconds_ago: float, *, revision: int = 1, on: str = "a") -> Failure:
    return Failure(
        revision=revision, node=on, count=count, last_at=NOW - timedelta(seconds=seconds_ago)
    )


@pytest.mark.parametrize(
    ("count", "seconds_ago", "creates"),
    [
        (1, 0.5, 0),
        (1, 1, 1),
        (2, 1.5, 0),
        (2, 2, 1),
        (6, 31, 0),
        (6, 32, 1),
        (9, 59, 0),
        (9, 60, 1),
        (10, 3000, 0),
    ],
)
def test_failing_warm_ups_back_off_by_doubling_and_stop_at_a_limit(
    count: int, seconds_ago: float, creates: int
) -> None:
    made = plan(snapshot(pool(), failures=(failing(count, seconds_ago),)), NOW)

    assert sum(created(made).values()) == creates


def test_a_plan_that_backs_off_says_when_it_tries_again() -> None:
    made = plan(snapshot(pool(), failures=(failing(3, 1),)), NOW)

    assert made.look_again_in == pytest.approx(3)
    assert made.why == "revision 1 failed to warm 3 times in a row on a: next try in 3 s"


def test_a_plan_that_backs_off_says_what_went_wrong_last() -> None:
    failed = replace(failing(1, 0), reason="image_missing: lab:1")

    made = plan(snapshot(pool(), failures=(failed,)), NOW)

    assert made.why == (
        "revision 1 failed to warm once on a (image_missing: lab:1): next try in 1 s"
    )


def test_a_plan_that_stopped_says_why() -> None:
    made = plan(snapshot(pool(), failures=(failing(10, 1),)), NOW)

    assert "failed to warm 10 times in a row on a: stopped there" in made.why


def test_one_probe_at_a_time_goes_to_a_node_that_fails() -> None:
    of, failures = pool(warm=5), (failing(1, 30),)

    assert created(plan(snapshot(of, failures=failures), NOW)) == {"a": 1}
    assert created(plan(snapshot(of, notebooks("1 creating"), failures=failures), NOW)) == {}


def test_the_failures_of_one_node_or_revision_do_not_stop_another() -> None:
    nodes = [node("a"), node("b")]
    failures = (failing(10, 1, on="a"), failing(10, 1, revision=1, on="b"))

    of = pool(revision=2, warm=2)
    assert created(plan(snapshot(of, nodes=nodes, failures=failures), NOW)) == {"a": 1, "b": 1}
    of = pool(revision=1, warm=2)
    assert created(plan(snapshot(of, nodes=nodes, failures=failures[:1]), NOW)) == {"b": 2}
