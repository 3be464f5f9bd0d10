"""Arrivals are a Poisson process that comes out the same each time; memory is judged late."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

from benchmarks import memory, stages
from benchmarks.arrivals import arrivals


def test_the_same_seed_brings_the_same_people() -> None:
    first, second, other = (
        arrivals(per_second=0.25, seconds=600, stay=30, seed=seed) for seed in (20, 20, 21)
    )

    assert first == second
    assert first != other


def test_people_come_in_order_at_the_mean_asked_for_and_within_the_time() -> None:
    coming = arrivals(per_second=0.25, seconds=400_000, stay=30, seed=1)

    times = [arrival.at for arrival in coming]
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 400_000
    assert abs(len(coming) / 100_000 - 1) < 0.02
    assert abs(mean(arrival.stays for arrival in coming) / 30 - 1) < 0.02


def test_memory_is_compared_after_the_first_hundred() -> None:
    points = [(at, 100.0 if at <= 100 else 50.0) for at in range(10, 501, 10)]
    points[-1] = (500, 55.0)

    found = memory.drift({"agent": points})

    assert found == {"agent": {"second_mib": 50.0, "last_mib": 50.5, "ratio": 1.01}}


def test_too_few_leases_say_nothing_of_growth() -> None:
    assert memory.drift({"agent": [(at, 1.0) for at in range(10, 210, 10)]}) == {}


def test_a_notebook_told_of_with_two_leases_was_given_twice(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    told = [("n1", "l1"), ("n1", "l1"), ("n2", "l2"), ("n2", "l3")]
    lines = [
        json.dumps({"event": "notebook.activated", "notebook": n, "lease": x}) for n, x in told
    ]
    log.write_text("\n".join(['no JSON of "notebook.activated"', *lines]))

    assert memory.twice(log, "notebook.activated") == ["n2"]
    assert memory.twice(tmp_path / "none.log", "notebook.activated") == []


def test_stages_are_of_the_people_asked_for_and_cut_lines_do_no_harm(tmp_path: Path) -> None:
    log = tmp_path / "lease.log"
    told = [("ada", 1.0), ("bob", 3.0), ("eve", 99.0)]
    lines = [
        json.dumps({"event": "lease.served", "user": u, "stages": {"pop": ms}}) for u, ms in told
    ]
    log.write_text("\n".join([*lines, '{"event": "lease.served", "user": "ada", "sta']))

    assert stages.of(log, ["ada", "bob"]) == {"pop": {"p50": 2.0, "p95": 3.0}}
    assert stages.of(tmp_path / "none.log", ["ada"]) == {}
