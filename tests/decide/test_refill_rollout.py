from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controlplane.decide.refill import Snapshot, plan
from controlplane.model import Notebook
from tests.decide.fleets import NOW, notebook, notebooks, pool, snapshot


def rollout(new: str, *, old: str = "3 ready", minutes_ago: float = 60, warm: int = 3) -> Snapshot:
    """Revision 2 was applied so long ago. Ids of revision 1 start at 100."""
    of = pool(revision=2, warm=warm, changed_at=NOW - timedelta(minutes=minutes_ago))
    first = [_renumbered(n) for n in notebooks(old, revision=1, minutes=90)]
    return snapshot(of, notebooks(new, revision=2) + first)


def _renumbered(old: Notebook) -> Notebook:
    return replace(old, notebook=f"{old.notebook[:-12]}{int(old.notebook[-12:]) + 100:012d}")


def reasons(seen: Snapshot) -> list[str]:
    return [r.reason for r in plan(seen, NOW).retire]


def creates(seen: Snapshot) -> int:
    return sum(c.count for c in plan(seen, NOW).create)


def test_a_new_revision_is_warmed_beside_the_old_one() -> None:
    seen = rollout("", minutes_ago=0)

    assert creates(seen) == 3
    assert reasons(seen) == []


@pytest.mark.parametrize(("minutes_ago", "gone"), [(0, 0), (19.9, 0), (20, 3), (60, 3)])
def test_superseded_warm_notebooks_stay_for_twenty_minutes(minutes_ago: float, gone: int) -> None:
    assert reasons(rollout("3 ready", minutes_ago=minutes_ago)) == ["superseded"] * gone


@pytest.mark.parametrize(
    ("new", "gone"),
    [("", 0), ("3 warming", 0), ("1 ready", 1), ("2 ready 1 warming", 2), ("3 ready", 3)],
)
def test_superseded_warm_notebooks_go_one_for_one(new: str, gone: int) -> None:
    assert reasons(rollout(new)) == ["superseded"] * gone


def test_superseded_ones_above_the_target_stay_until_a_new_one_is_ready() -> None:
    assert reasons(rollout("", old="5 ready")) == []
    assert reasons(rollout("1 ready", old="5 ready")) == ["superseded"] * 3


def test_superseded_warm_notebooks_stay_while_anybody_waits() -> None:
    assert plan(replace(rollout("3 ready"), waiting=1), NOW).retire == ()


def test_people_on_an_older_revision_are_left_alone() -> None:
    assert reasons(rollout("3 ready", old="5 leased")) == []


def test_a_pool_without_a_target_lets_go_of_superseded_ones_after_their_time() -> None:
    assert reasons(rollout("", warm=0, minutes_ago=19)) == []
    assert reasons(rollout("", warm=0, minutes_ago=21)) == ["superseded"] * 3


def test_the_line_is_not_ordered_twice_when_older_ones_can_serve_it() -> None:
    assert creates(replace(rollout("", old="2 ready 1 warming"), waiting=4)) == 4


def test_a_revision_that_makes_the_same_container_supersedes_nothing() -> None:
    seen = replace(rollout(""), same_revisions=frozenset({1, 2}))

    assert plan(seen, NOW).create == ()
    assert plan(seen, NOW).retire == ()


def test_a_rollout_without_room_says_what_holds_it() -> None:
    seen = rollout("", old="3 ready 2 leased")
    full = replace(seen, pool=pool(revision=2, warm=3, maximum=5))

    made = plan(full, NOW)

    assert made.create == ()
    assert made.retire == ()
    assert "3 older warm" in made.why


def test_the_end_of_the_twenty_minutes_is_looked_at_again() -> None:
    made = plan(rollout("3 ready", minutes_ago=5), NOW)

    assert made.look_again_in == pytest.approx(15 * 60)


def test_the_moment_when_one_becomes_too_old_is_looked_at_again() -> None:
    made = plan(snapshot(pool(warm=1), [notebook(1, minutes=0)]), NOW)

    assert made.look_again_in is not None
    assert 0.9 * 86_400 <= made.look_again_in <= 86_400


HOUR = 60


def test_a_notebook_that_is_too_old_goes_when_its_replacement_is_ready() -> None:
    old, of = notebook(1, minutes=25 * HOUR), pool(warm=1)

    assert creates(snapshot(of, [old])) == 1
    assert reasons(snapshot(of, [old])) == []
    assert reasons(snapshot(of, [old, notebook(2)])) == ["stale"]


def test_notebooks_of_one_age_do_not_all_become_too_old_at_once() -> None:
    of = pool(warm=40)
    at_95_percent = [notebook(i, minutes=0.95 * 24 * HOUR) for i in range(40)]

    fresh_again = creates(snapshot(of, at_95_percent))

    assert 0 < fresh_again < 40


def test_a_notebook_is_never_too_old_before_nine_tenths_of_its_age() -> None:
    young = [notebook(i, minutes=0.89 * 24 * HOUR) for i in range(40)]

    assert creates(snapshot(pool(warm=40), young)) == 0


def test_creates_are_held_while_people_start() -> None:
    seen = snapshot(pool(), notebooks("2 ready"), activating=2)

    made = plan(seen, NOW)

    assert made.create == ()
    assert made.held
    assert made.look_again_in is not None


@pytest.mark.parametrize(
    "seen",
    [
        snapshot(pool(), notebooks("2 ready"), activating=2),
        snapshot(pool(warm=9), notebooks("2 ready"), served_at=NOW),
    ],
)
def test_creates_are_not_held_longer_than_a_hundred_starts_take(seen: Snapshot) -> None:
    assert plan(seen, NOW, held_since=NOW - timedelta(seconds=14.9)).held
    assert not plan(seen, NOW, held_since=NOW - timedelta(seconds=15)).held


@pytest.mark.parametrize(
    ("warm", "seconds_ago", "waiting", "held"),
    [
        ("2 ready", 5.9, 0, True),
        ("2 ready", 6.0, 0, False),
        ("1 ready", 5.9, 0, False),  # less than half of three
        ("2 ready", 5.9, 1, False),
        ("1 ready", 1.9, 0, True),  # the last of a burst are still on their way
        ("1 ready", 2.0, 0, False),
        ("1 ready", 1.9, 1, False),
        ("1 leased", 1.9, 0, False),  # nothing is left for the next one
    ],
)
def test_whoever_was_just_served_has_the_processors_for_a_while(
    warm: str, seconds_ago: float, waiting: int, held: bool
) -> None:
    served_at = NOW - timedelta(seconds=seconds_ago)

    made = plan(snapshot(pool(), notebooks(warm), served_at=served_at, waiting=waiting), NOW)

    assert made.held is held
    assert bool(made.create) is not held


def test_creates_are_not_held_when_people_wait_and_nothing_is_warm() -> None:
    made = plan(snapshot(pool(), activating=2, waiting=1), NOW)

    assert sum(c.count for c in made.create) == 4


def test_nothing_is_held_when_nothing_is_missing() -> None:
    assert not plan(snapshot(pool(), notebooks("3 ready"), activating=2), NOW).held
