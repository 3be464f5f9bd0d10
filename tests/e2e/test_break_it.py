"""README's "Break it", and its neighbours: a part dies, a person clicks anyway."""

from __future__ import annotations

import asyncio

import pytest

from scripts.stack import proof
from tests.e2e.house import House

pytestmark = [pytest.mark.engine, pytest.mark.hub, pytest.mark.services]


async def test_a_click_without_a_lease_worker_waits_and_is_served_by_the_next(
    house: House,
) -> None:
    await house.warm(1)
    house.kill("lease")
    try:
        click = asyncio.create_task(proof.spawn_and_run(house.url, house.stack.token, "eve"))
        await asyncio.to_thread(house.start, "lease")
        told = await click
    finally:
        house.start("lease")

    assert told.result == "2"


async def test_a_server_outlives_the_kill_of_the_whole_control_plane(house: House) -> None:
    await house.warm(1)
    async with house.visit("flo") as flo:
        await flo.click()
        await flo.follow()
        kept = set(house.containers())
        for name in ("agent", "lease", "refill", "liveness", "suspect"):
            house.kill(name)
        status_without = (await house.get("/user/flo/api/status"))[0]
        await asyncio.to_thread(house.start_all)
        await house.until(lambda: house.counted("leased") == 1, "the lease is still known")
        status_after = (await house.get("/user/flo/api/status"))[0]
        still_there = kept & set(house.containers())

    assert (status_without, status_after) == (200, 200)
    assert still_there == kept


async def test_a_hub_that_is_killed_finds_its_servers_again(house: House) -> None:
    await house.warm(1)
    async with house.visit("gus") as gus:
        await gus.click()
        await gus.follow()
        kernel = await gus.start_kernel()
        house.kill("hub")
        await asyncio.to_thread(house.start, "hub")
        clock = proof.Stopwatch()
        _, result = await proof.run_code(gus, kernel, "6*7", clock=clock)
        async with gus.session.get(gus.of_user) as answer:
            servers = (await answer.json())["servers"]

    assert result == "42"
    assert servers[""]["ready"] is True


async def test_a_notebook_that_dies_is_told_to_the_hub_soon(house: House) -> None:
    await house.warm(1)
    async with house.visit("hal") as hal:
        await hal.click()
        await hal.follow()
        kernel = await hal.start_kernel()
        clock = proof.Stopwatch()
        with pytest.raises(proof.Unproven):
            await proof.run_code(hal, kernel, "import os; os.kill(1, 15)", clock=clock)
        await house.until(lambda: house.counted("leased") == 0, "the lease has ended")
        async with hal.session.get(hal.of_user) as answer:
            servers = (await answer.json())["servers"]

    assert servers == {}
