from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.messages import KnownLease, LeaseClaimed, LeaseRequest, LinePlaces, Place
from controlplane.spawner import GreenroomSpawner
from controlplane.spawner import spawner as spawner_module
from controlplane.spawner.claim import Claim
from controlplane.spawner.door import Door
from tests.spawner import stage


async def follow(spawner: GreenroomSpawner, seen: list[dict[str, Any]]) -> None:
    async for event in spawner.progress():
        seen.append(event)


def places(lease: str, place: int, **fields: Any) -> LinePlaces:
    told = {"pool": "small", "why": "warming", "warming": 2, "eta_seconds": 12.0} | fields
    return LinePlaces(places=(Place(lease=lease, place=place),), **told)


async def test_every_listener_sees_place_and_end_also_one_that_came_before_the_start(
    road: stage.Road, door: Door
) -> None:
    spawner = stage.spawner(door)
    first: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []
    early = asyncio.create_task(follow(spawner, first))
    start = asyncio.create_task(spawner.start())
    lease = (await road.first(LeaseRequest)).lease
    await road.tell(places(lease, 3))
    late = asyncio.create_task(follow(spawner, second))
    await asyncio.sleep(0)
    await road.tell(stage.serving(lease))
    await asyncio.gather(start, early, late)

    queue = {"position": 3, "eta_seconds": 36.0, "pool": "small", "why": "warming", "warming": 2}
    assert queue in [event.get("queue") for event in first]
    assert queue in [event.get("queue") for event in second]
    assert first[-1] == second[-1]
    assert first[-1]["progress"] == 95


async def test_what_did_not_change_is_not_said_again(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    lease = (await road.first(LeaseRequest)).lease
    await road.tell(places(lease, 1))
    seen: list[dict[str, Any]] = []
    listener = asyncio.create_task(follow(spawner, seen))
    await road.tell(places(lease, 1))
    await asyncio.sleep(0)
    await road.tell(stage.serving(lease))
    await asyncio.gather(start, listener)

    messages = [event["message"] for event in seen]
    assert len(messages) == len(set(messages))


async def test_dry_pools_are_told_apart(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    lease = (await road.first(LeaseRequest)).lease
    said = []
    for why in ("warming", "at_capacity", "nothing_coming"):
        await road.tell(places(lease, 1, why=why, eta_seconds=None))
        said.append(await anext(spawner.progress()))
    await road.tell(stage.serving(lease))
    await start

    assert "2 are warming" in said[0]["message"]
    assert "at capacity" in said[1]["message"]
    assert "administrators" in said[2]["message"]


async def test_a_notebook_that_was_found_is_said(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    lease = (await road.first(LeaseRequest)).lease
    await road.tell(LeaseClaimed(lease=lease, attempt=1, notebook=stage.NOTEBOOK, node="n1"))

    event = await anext(spawner.progress())

    assert event["progress"] == 70
    await road.tell(stage.serving(lease))
    await start


@pytest.mark.parametrize(
    ("home", "words"),
    [("backup-ro", "read-only, and cannot save"), ("backup-rw", "does not reach your own home")],
)
async def test_who_has_the_backup_of_a_home_is_told_so_while_the_page_is_there(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch, home: str, words: str
) -> None:
    monkeypatch.setattr(spawner_module, "BACKUP_SAID_SECONDS", 3600.0)
    spawner = stage.spawner(door, start_timeout=7200)
    start = asyncio.create_task(spawner.start())
    lease = (await road.first(LeaseRequest)).lease
    seen: list[dict[str, Any]] = []
    listener = asyncio.create_task(follow(spawner, seen))
    await road.tell(stage.serving(lease, home=home))
    await listener
    await asyncio.wait([start], timeout=0.1)
    still_there = not start.done()
    start.cancel()
    await asyncio.wait([start])

    assert "Your home storage does not answer" in seen[-1]["message"]
    assert words in seen[-1]["message"]
    assert still_there


async def test_a_start_on_the_backup_goes_on_by_itself(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "BACKUP_SAID_SECONDS", 0.01)
    start = asyncio.create_task(stage.spawner(door).start())
    lease = (await road.first(LeaseRequest)).lease
    await road.tell(stage.serving(lease, home="backup-ro"))

    assert await start == stage.URL


async def test_a_hub_that_heard_it_from_its_snapshot_tells_it_as_well() -> None:
    claim = Claim(stage.NOTEBOOK, pool="small", since=0.0)
    known = KnownLease(
        lease=stage.NOTEBOOK,
        user="ann",
        server="",
        phase="serving",
        url=stage.URL,
        home="backup-ro",
    )
    claim.hear_snapshot(known, 1.0)

    told = [event async for event in claim.progress()]

    assert "read-only" in told[-1]["message"]
