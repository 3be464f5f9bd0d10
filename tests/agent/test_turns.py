"""Warm-ups keep out of the way of activations, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from controlplane.messages import NotebookGone, WarmupReady
from tests.agent.theatre import DEADLINE_SECONDS, Theatre
from workers.agent.turns import Turns

FOR_EVER = 3600.0


async def soon(what: asyncio.Task[Any]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await what


async def test_it_is_calm_when_nobody_has_a_turn_or_waits_for_one() -> None:
    turns = Turns(1)
    await turns.calm(FOR_EVER)
    await turns.acquire()
    waiter = asyncio.create_task(turns.acquire())
    calm = asyncio.create_task(turns.calm(FOR_EVER))
    await asyncio.sleep(0)

    turns.release()
    await soon(waiter)
    # The last turn has gone to the one who waited.
    assert not calm.done()
    turns.release()

    await soon(calm)


async def test_who_gives_up_waiting_for_a_turn_keeps_nobody_out() -> None:
    turns = Turns(1)
    await turns.acquire()
    waiter = asyncio.create_task(turns.acquire())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])

    turns.release()

    await soon(asyncio.create_task(turns.calm(FOR_EVER)))


async def test_it_is_waited_for_only_so_long() -> None:
    turns = Turns(1)
    await turns.acquire()

    await soon(asyncio.create_task(turns.calm(0.01)))


@pytest.mark.parametrize("either", ["simulated"], indirect=True)
async def test_no_container_is_made_while_somebody_is_activated(
    either_theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turns.calm, "__defaults__", (FOR_EVER,))
    theatre, engine = either_theatre, either_theatre.engine
    made: list[str] = []
    create = engine.create

    async def noted(name: str, config: Mapping[str, Any]) -> str:
        made.append(name)
        return await create(name, config)

    monkeypatch.setattr(engine, "create", noted)
    turns = theatre.agent.node.turns
    await turns.acquire()
    order = theatre.create_order()
    await theatre.take(order)
    # The agent has had its time to begin: it has answered another order meanwhile.
    retired = theatre.create_order().notebook
    await theatre.take(theatre.retire_order(retired))
    await theatre.reported.wait(NotebookGone)
    made_meanwhile = list(made)

    turns.release()
    await theatre.reported.wait(WarmupReady)

    assert made_meanwhile == []
    assert theatre.container_name(order.notebook) in made
