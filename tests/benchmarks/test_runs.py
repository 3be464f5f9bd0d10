"""What was measured is on disk as soon as it is known, and is never quietly dropped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.people import Seen
from benchmarks.runs import Log, Run, middle, quantile


def run(number: int = 0, *, problem: str = "", ready_ms: float = 100.0) -> Run:
    seen = (Seen(user="ada", ready_ms=ready_ms),)
    stages = {"pop": {"p50": 1.0, "p95": 2.0}}
    return Run(hub="greenroom", users=1, number=number, seen=seen, stages=stages, problem=problem)


def test_a_killed_benchmark_keeps_what_it_has(tmp_path: Path) -> None:
    log = Log(tmp_path / "runs.jsonl", go_on=False)
    log.about(["scripts/bench", "spawn"])
    log.add(run(0))
    with log.path.open("a") as out:
        out.write('{"run": {"hub": "greenr')

    again = Log(tmp_path / "runs.jsonl", go_on=True)

    assert [each.as_dict() for each in again.runs] == [Run.of(log.runs[0].as_dict()).as_dict()]
    assert again.has(run(0).key)
    assert not again.has(run(1).key)


def test_a_run_in_trouble_is_kept_and_made_again(tmp_path: Path) -> None:
    log = Log(tmp_path / "runs.jsonl", go_on=False)

    log.add(run(problem="TimeoutError: nothing came"))

    assert [each.problem for each in log.runs] == ["TimeoutError: nothing came"]
    assert not log.has(run().key)
    log.add(run(ready_ms=5.0))
    assert log.has(run().key)
    assert [each.ready() for each in Log(log.path, go_on=True).runs] == [[5.0]]
    assert len(log.path.read_text().splitlines()) == 2


def test_a_new_benchmark_puts_the_old_figures_aside(tmp_path: Path) -> None:
    Log(tmp_path / "runs.jsonl", go_on=False).add(run())

    assert Log(tmp_path / "runs.jsonl", go_on=False).runs == []
    (old,) = tmp_path.glob("runs.*.jsonl")
    assert json.loads(old.read_text())["run"]["hub"] == "greenroom"


def test_people_who_failed_are_counted_and_have_no_figures() -> None:
    seen = (Seen(user="ada", ready_ms=9.0), Seen(user="bob", ready_ms=None, problem="no"))

    spoilt = Run(hub="greenroom", users=2, seen=seen)

    assert (spoilt.ready(), spoilt.failed, spoilt.good) == ([9.0], 1, False)


def test_quantiles_are_of_the_nearest_rank_and_nothing_has_none() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.95) == 4.0
    assert middle([3.0, 1.0, 2.0]) == 2.0
    assert quantile([], 0.5) != quantile([], 0.5)
    assert middle([]) == pytest.approx(float("nan"), nan_ok=True)
