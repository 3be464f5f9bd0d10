"""A goal is reached, missed, or not measured; never reached by a figure that is missing."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import goals, table
from benchmarks.goals import Goal
from benchmarks.people import Seen
from benchmarks.runs import Run


def burst(hub: str, milliseconds: float, *, users: int = 40, **more: Any) -> Run:
    seen = tuple(Seen(user=f"p{n}", ready_ms=milliseconds) for n in range(users))
    return Run(**{"hub": hub, "users": users, "seen": seen, **more})


def found(runs: list[Run], words: str) -> Goal:
    (goal,) = [goal for goal in goals.judge(runs) if words in goal.what]
    return goal


def test_forty_are_held_against_the_floor_and_dockerspawner() -> None:
    runs = [burst("floor", 1000), burst("greenroom", 1600), burst("dockerspawner", 32_000)]

    assert found(runs, "p50 of 40 / floor").reached is False
    assert found(runs, "p95 of 40 / floor").reached is True
    assert found(runs, "DockerSpawner's p95").reached is True
    assert found(runs, "DockerSpawner's p95").measured == "20.0 x (32,000 / 1,600 ms)"


def test_what_was_not_measured_is_not_reached() -> None:
    runs = [burst("greenroom", 1600)]

    goal = found(runs, "p95 of 40 / floor")

    assert (goal.reached, goal.verdict, goal.measured) == (None, "not measured", "-")


def test_ratios_are_of_medians_over_runs() -> None:
    ours = [burst("greenroom", ms, number=n) for n, ms in enumerate((1000, 1100, 9000))]

    assert "1.10 x" in found([burst("floor", 1000), *ours], "p50 of 40 / floor").measured


def test_a_dry_pool_is_judged_by_its_first_people_its_cpu_and_that_nobody_fails() -> None:
    quick = [Seen(user=f"p{n}", ready_ms=1200.0) for n in range(20)]
    slow = [Seen(user=f"q{n}", ready_ms=30_000.0, stood_in_line=True) for n in range(20)]
    dry = burst("greenroom", 0, scene="dry", warm=20, cpu_seconds=61.0, idle_cpu_seconds=1.0)
    dry = Run(**{**vars(dry), "seen": (*slow, *quick)})
    docker = burst("dockerspawner", 90_000, cpu_seconds=151.0, idle_cpu_seconds=1.0)
    runs = [burst("floor", 1000), docker, dry]

    assert found(runs, "first 20 of 40, dry: p50").reached is True
    assert found(runs, "CPU of 40 on 20 warm").reached is False
    assert found(runs, "starts in 3 runs").reached is True


@pytest.mark.parametrize(("seconds", "reached"), [(89.0, True), (91.0, False)])
def test_refill_has_ninety_seconds_after_a_burst_of_forty(seconds: float, reached: bool) -> None:
    runs = [burst("greenroom", 1000, refill_seconds=seconds)]

    assert found(runs, "back at target").reached is reached


def test_a_second_burst_is_held_against_the_first() -> None:
    first = burst("greenroom", 1000, scene="again", refill_seconds=60.0)
    second = burst("greenroom", 1600).seen

    goal = found([Run(**{**vars(first), "seen": (*first.seen, *second)})], "second burst")

    assert (goal.reached, goal.measured) == (False, "1.60 x (1,600 / 1,000 ms)")


def test_cold_leases_are_misses_of_the_pool() -> None:
    run = burst("greenroom", 200, users=150, scene="poisson", warm=10, cold=2)

    goal = found([run], "hit ratio")

    assert (goal.measured, goal.reached) == ("98.7% (2 cold, 0 stood in line)", False)
    assert found([run], "p99 of arrivals").reached is True


def test_memory_that_grows_and_notebooks_given_twice_are_seen() -> None:
    facts = {
        "doubled": ["a"], "lost": [], "broken": [],
        "memory": {"agent": {"ratio": 1.01}, "lease": {"ratio": 1.2}, "postgres": {"ratio": 2.0}},
    }  # fmt: skip
    run = burst("greenroom", 200, scene="endure", facts=facts)

    assert found([run], "leases on Docker").measured == "1 doubled, 0 lost, 0 broken"
    assert found([run], "leases on Docker").reached is False
    assert (found([run], "memory").measured, found([run], "memory").reached) == (
        "lease 1.200",
        False,
    )


def test_one_person_who_failed_or_one_run_in_trouble_is_a_goal_missed() -> None:
    failed = Run(hub="floor", users=1, seen=(Seen(user="ada", ready_ms=None, problem="no"),))
    spoilt = Run(hub="floor", users=1, problem="TimeoutError")

    assert found([failed], "starts in").reached is False
    assert found([spoilt], "starts in").reached is False


def test_the_table_has_ratios_beside_the_floor_and_leaves_unmeasured_cells_empty() -> None:
    rows = table.summary([burst("floor", 1000), burst("greenroom", 1500)])

    text = table.markdown(rows)

    assert rows[1]["ready_p50_ms_over_floor"] == 1.5
    assert "nan" not in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_a_scene_stands_beside_the_bursts_of_as_many_people() -> None:
    rows = table.summary([burst("floor", 1000), burst("greenroom", 3000, scene="dry")])

    assert rows[1]["scene"] == "dry"
    assert rows[1]["ready_p95_ms_over_floor"] == 3.0


def test_stages_and_cpu_of_a_burst_are_told_in_one_line_each() -> None:
    run = burst(
        "greenroom", 1000, stages={"pop": {"p50": 1.2, "p95": 9.0}}, cpu_by={"hub": 2.0, "x": 0.0}
    )

    assert table.stages([run]).splitlines() == [
        "40 x burst, ms p50/p95: pop 1/9",
        "40 x greenroom, burst, CPU s to the last ready: hub 2.00",
    ]
