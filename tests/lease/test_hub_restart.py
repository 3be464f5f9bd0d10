"""A real hub is killed while people stand in a real line."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import conftest as given
from tests.lease.actors import DEADLINE_SECONDS
from tests.lease.conftest import House
from tests.spawner.hubs import Hub

pytestmark = [pytest.mark.services, pytest.mark.hub]

PEOPLE = 50


async def line(house: House) -> list[tuple[str, str]]:
    """Who stands in the line, with which lease, first to last."""
    lines = await house.postgres.leases.places()
    return [(lease.user, lease.lease) for each in lines for lease in each.waiting]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await true():  # noqa: ASYNC110 other processes cannot set our events
            await asyncio.sleep(0.2)


async def press(hub: Hub, house: House, user: str) -> asyncio.Task[Any]:
    """Start somebody's server, again while the hub does not know its broker yet."""

    async def answered() -> asyncio.Task[Any] | None:
        pressed = asyncio.ensure_future(hub.spawn(user))
        while not pressed.done():
            model = await hub.servers(user)
            waits = model.get("", {}).get("pending") == "spawn"
            if waits and user in dict(await line(house)):
                return pressed
            await asyncio.sleep(0.05)
        return None

    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if (pressed := await answered()) is not None:
                return pressed


def written(hub: Hub) -> int:
    """Of how many starts the hub's database knows the lease."""
    with closing(sqlite3.connect(hub.directory / "hub.sqlite", timeout=60)) as database:
        rows = database.execute("select state from spawners").fetchall()
    return sum("lease" in json.loads(state or "{}") for (state,) in rows)


async def test_a_hub_that_is_killed_with_50_in_line_finds_them_in_the_same_order(
    house: House, amqp_url: str, tmp_path: Path
) -> None:
    await house.agent()
    await house.worker()
    hub = Hub(
        tmp_path,
        amqp=amqp_url,
        installation=house.settings.installation,
        proxy=given.given("GREENROOM_TEST_PROXY"),
        # However slow this machine is.
        more="c.GreenroomSpawner.keep_place_seconds = 3600",
    )
    users = [f"user{n:02}" for n in range(PEOPLE)]
    presses: list[asyncio.Task[Any]] = []
    try:
        await hub.start()
        for user in users:
            await hub.new_user(user)
        for user in users:
            presses.append(await press(hub, house, user))
        await until(lambda: asyncio.to_thread(lambda: written(hub) == PEOPLE))
        before = await line(house)
        await hub.kill()
        await hub.start()

        for user in reversed(users):
            presses.append(await press(hub, house, user))
        after = await line(house)
        heads = await house.warm(3)
        await until(lambda: claimed(house, 3))
        rest = await line(house)
    finally:
        await hub.stop()
        await asyncio.gather(*presses, return_exceptions=True)

    assert [user for user, _ in before] == users
    assert after == before
    assert len(heads) == 3
    assert rest == before[3:]


async def claimed(house: House, count: int) -> bool:
    """So many have left the line."""
    return len(await line(house)) <= PEOPLE - count
