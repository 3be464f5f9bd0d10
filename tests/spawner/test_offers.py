"""What a hub knows of the pools, asked for when somebody looks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.messages import HubPools
from controlplane.spawner import offers
from controlplane.spawner.offers import Offers
from tests.spawner import stage


class Asked:
    """Offers on a clock of their own, and a lease worker that answers or not."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.questions = 0
        self.answers = True
        self.offers = Offers(self._ask, lambda: self.clock)

    async def _ask(self) -> None:
        self.questions += 1
        if self.answers:
            self.offers.hear(part("small"))


def part(*names: str, number: int = 1, parts: int = 1, id: str = "p", **more: Any) -> HubPools:
    pools = tuple(stage.pool(name) for name in names)
    return HubPools(hub="hub1", snapshot=id, part=number, parts=parts, pools=pools, **more)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(offers, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(offers, "STUCK_SECONDS", stage.SOON)
    return Asked()


async def test_an_answer_is_good_for_two_seconds(asked: Asked) -> None:
    for seconds in (0, 1.9, 0.2, 1.9):
        asked.clock += seconds
        assert await asked.offers.look() is not None

    assert asked.questions == 2


async def test_who_must_know_now_asks_at_any_time(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is answered at once: the deadline is not what this is about.
    monkeypatch.setattr(offers, "WAIT_SECONDS", stage.SOON)
    await asked.offers.look()
    asked.clock += 0.1

    found = await asked.offers.look(within=0)

    assert asked.questions == 2
    assert found is not None
    assert found.at == asked.clock


async def test_silence_is_asked_again_after_a_while_only(asked: Asked) -> None:
    asked.answers = False
    for seconds in (0, 2.5, 2.6):
        asked.clock += seconds
        assert await asked.offers.look() is None

    assert asked.questions == 2


async def test_in_silence_the_last_answer_is_good_for_half_a_minute(asked: Asked) -> None:
    await asked.offers.look()
    asked.answers = False

    asked.clock += 29
    assert await asked.offers.look() is not None
    asked.clock += 2
    assert await asked.offers.look() is None


async def test_whoever_looks_while_a_question_is_under_way_waits_for_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offers, "WAIT_SECONDS", stage.SOON)
    monkeypatch.setattr(offers, "STUCK_SECONDS", stage.SOON)
    questions, asked = [], asyncio.Event()

    async def ask() -> None:
        questions.append(1)
        asked.set()

    seen = Offers(ask, lambda: 0.0)
    looks = [asyncio.create_task(seen.look()) for _ in range(3)]
    await asked.wait()
    seen.hear(part("small"))

    found = await asyncio.gather(*looks)

    assert len(questions) == 1
    assert all(each is not None for each in found)


async def test_parts_make_an_offer_in_any_order_and_never_with_those_of_another(
    asked: Asked,
) -> None:
    assert asked.offers.hear(part("old", number=1, parts=2, id="lost")) is None
    assert asked.offers.hear(part("b", number=2, parts=2, max_per_user=3)) is None

    whole = asked.offers.hear(part("a", number=1, parts=2, max_per_user=3))

    assert whole is not None
    assert sorted(whole.pools) == ["a", "b"]
    assert whole.max_per_user == 3


async def test_closing_ends_a_question_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "WAIT_SECONDS", stage.SOON)
    monkeypatch.setattr(offers, "STUCK_SECONDS", stage.SOON)
    asked = asyncio.Event()

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    seen = Offers(never, lambda: 0.0)
    look = asyncio.create_task(seen.look())
    await asked.wait()

    await seen.close()

    assert await look is None
