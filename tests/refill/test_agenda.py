"""When pools are looked at, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from controlplane.apply.notebooks import Done, NotebookEffects
from controlplane.clients.postgres import Postgres
from controlplane.errors import Conflict, Refused, Unavailable
from tests.decide.fleets import pool, snapshot
from workers.refill.planner import Agenda, Planner


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agenda(clock: Clock) -> Agenda:
    return Agenda(0.1, clock)


def test_nothing_is_due_without_a_hint(agenda: Agenda) -> None:
    assert agenda.take() is None


def test_hints_of_one_pool_are_merged(agenda: Agenda) -> None:
    agenda.add("lab")
    agenda.add("lab")

    assert [agenda.take(), agenda.take()] == ["lab", None]


def test_a_pool_is_looked_at_ten_times_a_second_at_most(agenda: Agenda, clock: Clock) -> None:
    looks = 0
    for _ in range(1000):
        agenda.add("lab")
        looks += agenda.take() is not None
        clock.now += 0.001

    assert looks == 10


def test_a_pool_that_takes_long_to_look_at_rests_and_no_other_one(
    agenda: Agenda, clock: Clock
) -> None:
    agenda.add("huge")
    agenda.take()
    agenda.add("huge")
    agenda.rest("huge", 3.0)
    agenda.add("small")

    early = [agenda.take(), agenda.take()]
    clock.now += 2.9
    agenda.add("huge")
    later = agenda.take()
    clock.now += 0.1001

    assert (early, later, agenda.take()) == (["small", None], None, "huge")


def test_a_quick_look_needs_no_rest(agenda: Agenda, clock: Clock) -> None:
    agenda.add("lab")
    agenda.take()
    agenda.rest("lab", 0.01)
    agenda.add("lab")
    clock.now += 0.0999
    early = agenda.take()
    clock.now += 0.0002

    assert (early, agenda.take()) == (None, "lab")


def test_a_hint_during_the_pause_is_kept_for_its_end(agenda: Agenda, clock: Clock) -> None:
    agenda.add("lab")
    agenda.take()
    agenda.add("lab")
    early = agenda.take()
    clock.now += 0.1

    assert (early, agenda.take()) == (None, "lab")


def test_one_busy_pool_does_not_hold_up_another(agenda: Agenda) -> None:
    agenda.add("busy")
    agenda.take()
    agenda.add("busy")
    agenda.add("lab")

    assert agenda.take() == "lab"


def test_what_was_for_later_comes_earlier_by_a_hint(agenda: Agenda, clock: Clock) -> None:
    agenda.add("lab", in_seconds=60)
    agenda.add("lab")
    first = agenda.take()
    clock.now += 120

    assert (first, agenda.take()) == ("lab", None)


def test_what_is_for_later_waits(agenda: Agenda, clock: Clock) -> None:
    agenda.add("lab", in_seconds=60)
    early = agenda.take()
    clock.now += 60

    assert (early, agenda.take()) == (None, "lab")


class Pools:
    """Postgres' pools, with trouble for some of them."""

    def __init__(self, trouble: dict[str, list[Exception]]) -> None:
        self.looks: list[str] = []
        self.enough = asyncio.Event()
        self.well = asyncio.Event()
        self._trouble = trouble

    async def snapshot(self, name: str) -> Any:
        self.looks.append(name)
        if name == "well":
            self.well.set()
        if self.looks.count("well") and self.looks.count("ill") >= 2:
            self.enough.set()
        if self._trouble.get(name):
            raise self._trouble[name].pop(0)
        return snapshot(pool(warm=0))


class Effects:
    async def apply(self, *_: object, **__: object) -> Done:
        return Done()


def planner_of(pools: Pools) -> Planner:
    class Fake:
        pass

    fake = Fake()
    fake.pools = pools  # type: ignore[attr-defined]
    return Planner(cast(Postgres, fake), cast(NotebookEffects, Effects()))


@pytest.mark.parametrize("error", [Conflict(), Unavailable()])
async def test_a_pool_in_trouble_is_looked_at_again_and_others_meanwhile(
    error: Exception,
) -> None:
    pools = Pools({"ill": [error]})
    planner = planner_of(pools)
    planner.look_at("ill")
    planner.look_at("well")

    running = asyncio.create_task(planner.run())
    async with asyncio.timeout(60):
        await pools.enough.wait()
    running.cancel()

    assert pools.looks.count("ill") == 2


async def test_a_bug_with_one_pool_stops_no_other() -> None:
    pools = Pools({"ill": [ZeroDivisionError()]})
    planner = planner_of(pools)
    planner.look_at("ill")
    planner.look_at("well")

    running = asyncio.create_task(planner.run())
    try:
        async with asyncio.timeout(60):
            await pools.well.wait()
        assert not running.done()
    finally:
        running.cancel()


async def test_a_pool_that_is_gone_is_forgotten() -> None:
    pools = Pools({"ill": [Refused("there is no pool ill")]})
    planner = planner_of(pools)

    again_in = await planner._without_stopping("ill", planner.look)

    assert again_in is None
