"""A run measures what its people saw; what goes wrong for one of them ends nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import bursts, endure, hubs, machine
from benchmarks.bursts import Theatre
from benchmarks.endure import House
from benchmarks.hubs import Hub
from benchmarks.runs import Run
from benchmarks.schedule import Step
from tests.benchmarks.stub_hub import StubHub

FOR_EVER = 3600.0


class StubStock:
    """A pool that is always at rest, and whatever the journal says afterwards."""

    def __init__(self) -> None:
        self.doubly_given: list[str] = []
        self.left_open: list[str] = []

    async def wait_rest(self, count: int, *, seconds: float) -> None: ...

    async def wait_ready(self, count: int, *, seconds: float) -> None: ...

    async def cold(self, users: Sequence[str]) -> int:
        return 0

    async def doubled(self) -> list[str]:
        return self.doubly_given

    async def open_leases(self) -> list[str]:
        return self.left_open

    async def broken(self) -> list[str]:
        return []


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[StubHub]:
    stub = StubHub(tmp_path)
    yield stub
    await stub.runner.cleanup()


@pytest.fixture
async def theatre(stub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Theatre:
    def homes(_: object, users: list[str]) -> None:
        for user in users:
            (tmp_path / user).mkdir()

    async def quiet(*, at_most_seconds: float) -> None: ...

    monkeypatch.setattr(hubs, "homes", homes)
    monkeypatch.setattr(machine, "quiet", quiet)
    monkeypatch.setattr(bursts, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(bursts, "AFTER_SECONDS", 0.0)
    url = await stub.open()
    place = SimpleNamespace(log=tmp_path, run=tmp_path / "run")
    stack: Any = SimpleNamespace(homes=tmp_path, token="token", place=place)
    stock: Any = StubStock()
    kinds = {kind: Hub(kind=kind, url=url) for kind in ("floor", "greenroom")}
    return Theatre(stack=stack, hubs=kinds, stock=stock, say=lambda _: None)


def step(hub: str, users: int, scene: str = "burst") -> Step:
    return Step(hub=hub, users=users, number=0, warm=users + 4, scene=scene)


@pytest.mark.parametrize("hub", ["floor", "greenroom"])
async def test_a_burst_starts_everybody_measures_and_leaves_nobody_behind(
    hub: str, stub: StubHub, theatre: Theatre
) -> None:
    run = await bursts.burst(theatre, step(hub, 7))

    assert (len(run.ready()), run.failed, run.problem) == (7, 0, "")
    assert sorted(stub.started) == sorted(seen.user for seen in run.seen)
    assert stub.servers == set()
    assert (run.refill_seconds is None) is (hub == "floor")
    assert "people" in run.cpu_by
    assert "rest" in run.cpu_by


async def test_who_fails_is_counted_beside_those_who_do_not(
    stub: StubHub, theatre: Theatre
) -> None:
    stub.failing = {2}

    run = await bursts.burst(theatre, step("floor", 5))

    assert (len(run.ready()), run.failed) == (4, 1)
    (problem,) = [seen.problem for seen in run.seen if seen.problem]
    assert "no such pool" in problem
    assert stub.servers == set()


async def test_a_run_that_goes_wrong_is_a_run_with_its_reason(theatre: Theatre) -> None:
    async def scene(_: Theatre, __: Step) -> Run:
        raise TimeoutError("the pool still has {'warming': 3}")

    run = await bursts.guarded(
        theatre, step("greenroom", 5), scene, until=time.monotonic() + FOR_EVER
    )

    assert run.problem == "TimeoutError: the pool still has {'warming': 3}"
    assert run.key == step("greenroom", 5).key


async def test_enduring_hundreds_ends_with_a_verdict(stub: StubHub, theatre: Theatre) -> None:
    house = House(theatre, step("greenroom", 25, "endure"))

    await house.fill(4)
    run = await house.judged()

    assert (len(run.seen), run.failed) == (25, 0)
    assert {name: run.facts[name] for name in ("doubled", "lost", "broken")} == {
        "doubled": [],
        "lost": [],
        "broken": [],
    }
    assert stub.servers == set()


async def test_somebody_in_another_s_home_and_a_notebook_given_twice_are_found(
    stub: StubHub, theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.mixed_up, stub.failing = {3}, {5}
    stock: Any = theatre.stock
    stock.doubly_given, stock.left_open = ["nb1"], ["lease1"]
    monkeypatch.setattr(endure, "SAMPLE_EVERY", 1000)
    house = House(theatre, step("greenroom", 8, "endure"))

    await house.fill(3)
    run = await house.judged()

    problems = " ".join(seen.problem for seen in run.seen)
    assert run.failed == 2
    assert "found another's home" in problems
    assert "no such pool" in problems
    assert (run.facts["doubled"], run.facts["lost"]) == (["nb1"], ["lease1"])
