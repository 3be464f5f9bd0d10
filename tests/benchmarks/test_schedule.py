"""Runs are interleaved fairly, and what they take is known before they start."""

from __future__ import annotations

from collections import Counter

from benchmarks import schedule
from benchmarks.schedule import Step

ALL = ("floor", "dockerspawner", "greenroom")


def hubs(steps: list[Step]) -> list[str]:
    return [step.hub for step in steps]


def test_hubs_take_turns_and_another_one_is_first_each_time() -> None:
    steps = list(schedule.bursts([10], runs=3, docker_runs=3, kinds=ALL))

    assert hubs(steps)[:6] == [
        "floor", "dockerspawner", "greenroom",
        "dockerspawner", "greenroom", "floor",
    ]  # fmt: skip
    assert Counter(hubs(steps)) == dict.fromkeys(ALL, 3)


def test_dockerspawner_can_have_fewer_runs_than_the_others() -> None:
    steps = list(schedule.bursts([40], runs=5, docker_runs=2, kinds=ALL))

    assert Counter(hubs(steps)) == {"floor": 5, "greenroom": 5, "dockerspawner": 2}


def test_a_hub_that_is_not_wanted_is_not_run() -> None:
    steps = list(schedule.bursts([100], runs=2, docker_runs=2, kinds=("floor", "greenroom")))

    assert hubs(steps) == ["floor", "greenroom", "greenroom", "floor"]


def test_every_run_is_another_measurement() -> None:
    steps = list(schedule.bursts([1, 40], runs=5, docker_runs=5, kinds=ALL))

    assert len({step.key for step in steps}) == len(steps)


def test_one_person_also_runs_a_kernel_but_not_on_the_floor_which_has_none() -> None:
    steps = list(schedule.bursts([1], runs=1, docker_runs=1, kinds=ALL))

    assert [(step.hub, step.kernels) for step in steps] == [
        ("floor", False),
        ("dockerspawner", False),
        ("dockerspawner", True),
        ("greenroom", False),
        ("greenroom", True),
    ]


def test_a_burst_has_a_warm_notebook_for_everybody_and_a_dry_scene_has_not() -> None:
    (burst,) = schedule.bursts([40], runs=1, docker_runs=0, kinds=("greenroom",))
    dry = schedule.dry(people=40, warm=20, runs=1, docker_runs=1, kinds=ALL)

    assert burst.warm == 44
    assert [(step.hub, step.scene, step.users) for step in dry] == [
        ("floor", "burst", 40),
        ("dockerspawner", "burst", 40),
        ("greenroom", "dry", 40),
    ]
    assert dry[-1].warm == 20


def test_a_plan_says_how_many_runs_how_long_and_never_longer_than() -> None:
    steps = list(schedule.bursts([40], runs=2, docker_runs=1, kinds=ALL))

    told = schedule.told(steps, 630.0, 1860.0)

    assert told.splitlines()[0] == "5 runs, about 10 minutes, never more than 31:"
    assert "   1 x burst of 40 on dockerspawner" in told
    assert "   2 x burst of 40 on greenroom" in told


def test_more_people_take_longer_and_no_run_is_given_up_before_its_time() -> None:
    few, many = (
        next(schedule.bursts([users], runs=0, docker_runs=1, kinds=ALL)) for users in (10, 40)
    )

    assert few.seconds < many.seconds < many.at_most_seconds()
    assert many.at_most_seconds(600.0) == many.at_most_seconds() + 600.0
