"""The main job through every real part: a click, a notebook that was warm, `1+1`."""

from __future__ import annotations

import asyncio
import json

import pytest

from scripts.stack import proof
from tests.e2e.house import House

pytestmark = [pytest.mark.engine, pytest.mark.hub, pytest.mark.services]


async def test_a_click_gives_a_warm_notebook_that_runs_code(house: House) -> None:
    await house.warm(1)

    told = await proof.spawn_and_run(house.url, house.stack.token, "ann")

    assert told.result == "2"
    served = [line for line in house.log("lease").splitlines() if "lease.served" in line]
    assert json.loads(served[-1])["lease"]


async def test_what_a_person_saves_is_in_their_home_and_in_nobody_elses(house: House) -> None:
    await house.warm(2)
    async with house.visit("bo") as bo, house.visit("cy") as cy:
        for visit in (bo, cy):
            await visit.click()
            await visit.follow()
        path = f"{bo.of_notebook}/api/contents/mine.txt"
        body = {"type": "file", "format": "text", "content": "bo was here"}
        async with bo.session.put(path, json=body) as answer:
            saved = answer.status
        async with cy.session.get(f"{cy.of_notebook}/api/contents/mine.txt") as answer:
            seen_by_cy = answer.status

    assert saved == 201
    assert seen_by_cy == 404
    assert (house.stack.homes / "bo" / "mine.txt").read_text() == "bo was here"


async def test_a_stopped_server_leaves_no_container_and_the_pool_fills_again(house: House) -> None:
    await house.warm(3)
    before = set(house.containers())
    async with house.visit("dee") as dee:
        await dee.click()
        await dee.follow()
    await house.until(
        lambda: house.counted("leased") + house.counted("retiring") == 0, "nothing leased"
    )
    await house.warm(3)

    assert len(house.containers()) == 3
    assert len(before & set(house.containers())) == 2


async def test_a_named_server_and_a_hostile_name_are_served_as_they_are(house: House) -> None:
    await house.warm(1)
    async with house.visit("o'neil $(reboot)", "second") as visit:
        await visit.click()
        await visit.follow()
        async with visit.session.get(proof.exactly(f"{visit.of_notebook}/api/status")) as answer:
            status = answer.status

    assert status == 200


async def test_more_people_than_warm_notebooks_are_all_served_in_the_end(house: House) -> None:
    await house.warm(3)
    names = [f"crowd{n}" for n in range(5)]

    told = await asyncio.gather(
        *(proof.spawn_and_run(house.url, house.stack.token, name) for name in names)
    )

    assert [t.result for t in told] == ["2"] * 5
