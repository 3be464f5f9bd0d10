"""Places of people who wait long outside the hub, while its broker or database is in trouble."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from controlplane.errors import Unavailable
from controlplane.messages import LeaseRelease, LeaseRequest, Message
from controlplane.spawner import keeping
from controlplane.spawner.door import Door
from tests.spawner import stage
from tests.spawner.waiting import again, aside, dry, until_held


async def test_a_page_that_only_looks_starts_again_before_its_lease_ends(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    spawner = stage.spawner(door, hold_in_start=0, start_timeout=600)
    await aside(spawner)
    standing = spawner._standing
    assert standing is not None

    soon = standing.html(door.now() + 1)
    late = standing.html(door.now() + 420)

    assert "url=/hub/spawn-pending/ann" in soon
    assert "url=/hub/spawn/ann" in late


async def test_who_comes_back_while_the_broker_stumbles_still_has_more_time(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    await aside(first)
    stumbles = iter([Unavailable("the broker did not answer")])
    publish = road.publish

    async def stumbling(body: Message, *arguments: Any, **named: Any) -> None:
        if isinstance(body, LeaseRequest) and (trouble := next(stumbles, None)):
            raise trouble
        await publish(body, *arguments, **named)

    monkeypatch.setattr(road, "publish", stumbling)
    back = asyncio.create_task(again(first, door, hold_in_start=1).start())
    await until_held(door)
    requests = road.all(LeaseRequest)
    await road.tell(stage.serving(requests[0].lease))
    await back

    assert [request.renewed for request in requests] == [False, True]


async def test_a_place_does_not_lapse_while_an_identity_hook_is_asked(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    await aside(first)
    kept = door.places.find(("ann", ""))
    assert kept is not None

    async def slow(spawner: Any) -> None:
        await door.sweep_places()

    kept.until = door.now()
    road.answer = stage.serve
    await again(first, door, identity=slow).start()

    assert road.all(LeaseRelease) == []


class Locked:
    """In place of the hub's database, while somebody else writes."""

    rolled_back = 0

    def query(self, *arguments: Any) -> Any:
        raise OperationalError("select", {}, Exception("database is locked"))

    def commit(self) -> None:
        raise OperationalError("update", {}, Exception("database is locked"))

    def rollback(self) -> None:
        self.rolled_back += 1


async def test_places_lapse_also_while_the_hub_s_database_is_locked(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.answer = dry
    for user in ("ann", "ben"):
        await aside(stage.spawner(door, user=user, hold_in_start=0))
        kept = door.places.find((user, ""))
        assert kept is not None
        kept.until = 0.0
    database = Locked()
    monkeypatch.setattr(keeping, "object_session", lambda row: database)

    await door.sweep_places()

    asked, let_go = road.all(LeaseRequest), road.all(LeaseRelease)
    assert {gone.lease for gone in let_go} == {request.lease for request in asked}
    assert database.rolled_back == 2


async def test_who_finds_no_room_steps_aside_also_while_the_hub_s_database_is_locked(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.answer = dry
    database = Locked()
    monkeypatch.setattr(keeping, "object_session", lambda row: database)

    async with asyncio.timeout(stage.SOON):
        error = await aside(stage.spawner(door, hold_in_start=0))

    assert error.status_code == 429
    assert database.rolled_back == 1
