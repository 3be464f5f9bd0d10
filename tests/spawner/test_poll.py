from __future__ import annotations

import asyncio
from typing import Any

import pytest
from jupyterhub.spawner import Spawner
from tornado.web import HTTPError

from controlplane.messages import (
    HubInventory,
    KnownLease,
    LeaseEnded,
    LeaseRelease,
    LeaseRequest,
    LineQuestion,
)
from controlplane.spawner import GreenroomSpawner, identity
from controlplane.spawner import spawner as spawner_module
from controlplane.spawner.door import Door
from tests.spawner import stage


def known(lease: str, *, phase: Any = "serving", url: str | None = stage.URL) -> KnownLease:
    return KnownLease(lease=lease, user="ann", server="", phase=phase, url=url)


def restored(door: Door, lease: str) -> GreenroomSpawner:
    """A spawner of a hub that restarted while its server ran."""
    spawner = stage.spawner(door)
    spawner.load_state({"lease": lease, "url": stage.URL})
    return spawner


async def served(road: stage.Road, door: Door) -> GreenroomSpawner:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    request = await road.first(LeaseRequest)
    await road.tell(stage.serving(request.lease))
    await start
    return spawner


async def told(spawner: GreenroomSpawner) -> asyncio.Event:
    """An event that is set when the hub's callback is called."""
    stopped = asyncio.Event()
    spawner.add_poll_callback(stopped.set)
    return stopped


async def test_a_server_that_was_never_started_does_not_run(door: Door) -> None:
    assert await stage.spawner(door, running=False).poll() == 0


async def test_after_a_restart_poll_says_running_until_a_snapshot_comes(
    road: stage.Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "ADOPTION_SECONDS", 0.01)
    door = await stage.open_door(road)

    status = await restored(door, identity.lease_id()).poll()

    assert status is None
    await door.close()


async def test_a_server_that_the_snapshot_knows_runs(road: stage.Road) -> None:
    lease = identity.lease_id()
    road.answer = stage.snapshots_with(known(lease))
    door = await stage.open_door(road)

    spawner = restored(door, lease)
    await door.greet()

    assert await spawner.poll() is None
    assert (await spawner.get_url()).startswith(stage.URL)
    await door.close()


async def test_a_server_that_a_complete_snapshot_leaves_out_is_over(road: stage.Road) -> None:
    door = await stage.open_door(road, greeted=False)
    spawner = restored(door, identity.lease_id())
    stopped = await told(spawner)
    road.answer = stage.snapshots_with()

    await door.greet()

    async with asyncio.timeout(stage.SOON):
        await stopped.wait()
    assert await spawner.poll() == 1
    await door.close()


async def test_a_snapshot_asked_for_before_a_server_served_does_not_end_it(
    road: stage.Road, door: Door
) -> None:
    await door.greet()
    spawner = await served(road, door)

    await road.tell(stage.snapshot(pools=[stage.pool()]))

    assert await spawner.poll() is None


async def test_half_a_snapshot_ends_nothing(road: stage.Road) -> None:
    door = await stage.open_door(road, greeted=False)
    spawner = restored(door, identity.lease_id())
    await door.greet()
    half = stage.snapshot().model_copy(update={"part": 1, "parts": 2})

    await road.tell(half)
    await road.tell(half)

    assert not await door.snapshot(0)
    assert spawner._claim is not None
    assert spawner._claim.status() is None
    await door.close()


async def test_the_snapshot_of_another_hub_ends_nothing(road: stage.Road) -> None:
    door = await stage.open_door(road, greeted=False)
    spawner = restored(door, identity.lease_id())
    await door.greet()

    await road.tell(stage.snapshot(hub="hub2"))

    assert spawner._claim is not None
    assert spawner._claim.status() is None
    await door.close()


async def test_a_start_that_a_killed_hub_left_behind_is_adopted(road: stage.Road) -> None:
    lease = identity.lease_id()
    road.answer = stage.snapshots_with(known(lease))
    door = await stage.open_door(road)
    spawner = stage.spawner(door)
    spawner.load_state({})

    status = await spawner.poll()

    assert status is None
    assert await spawner.get_url() == f"{stage.URL}/user/ann/"
    assert spawner.orm_spawner.state == {"lease": lease, "url": stage.URL}
    await door.close()


async def test_an_adopted_start_that_waits_is_asked_for_until_it_serves(
    road: stage.Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "ADOPTED_QUESTION_SECONDS", 0.01)
    lease = identity.lease_id()
    road.answer = stage.snapshots_with(known(lease, phase="claimed", url=None))
    door = await stage.open_door(road)
    spawner = stage.spawner(door)
    spawner.load_state({})
    await spawner.poll()
    url = asyncio.create_task(spawner.get_url())
    assert (await road.first(LineQuestion)).lease == lease

    await road.tell(stage.serving(lease))

    assert (await url).startswith(stage.URL)
    await door.close()


async def test_a_start_that_nobody_knows_after_a_restart_is_over(road: stage.Road) -> None:
    road.answer = stage.snapshots_with()
    door = await stage.open_door(road)
    spawner = stage.spawner(door)
    spawner.load_state({})

    assert await spawner.poll() == 0
    await door.close()


async def test_poll_never_raises(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    spawner = restored(door, identity.lease_id())

    def broken(seconds: float) -> None:
        raise RuntimeError("anything")

    monkeypatch.setattr(door, "snapshot", broken)

    assert await spawner.poll() is None


async def test_a_death_reaches_the_hub_at_once(road: stage.Road, door: Door) -> None:
    spawner = await served(road, door)
    stopped = await told(spawner)

    await road.tell(LeaseEnded(lease=road.all(LeaseRequest)[0].lease, reason="died"))

    async with asyncio.timeout(stage.SOON):
        await stopped.wait()
    assert await spawner.poll() == 1


async def test_a_death_before_the_hub_listens_reaches_it_when_it_does(
    road: stage.Road, door: Door
) -> None:
    spawner = await served(road, door)
    await road.tell(LeaseEnded(lease=road.all(LeaseRequest)[0].lease, reason="died"))

    stopped = await told(spawner)

    async with asyncio.timeout(stage.SOON):
        await stopped.wait()


async def test_a_stop_releases_once_and_is_safe_again(road: stage.Road, door: Door) -> None:
    spawner = await served(road, door)

    await spawner.stop(now=True)
    await spawner.stop()

    releases = [(release.lease, release.reason) for release in road.all(LeaseRelease)]
    assert releases == [(road.all(LeaseRequest)[0].lease, "stopped")]
    assert await spawner.poll() == 0


async def test_a_stop_of_a_server_that_is_over_asks_nothing(road: stage.Road, door: Door) -> None:
    spawner = await served(road, door)
    await road.tell(LeaseEnded(lease=road.all(LeaseRequest)[0].lease, reason="died"))

    await spawner.stop()

    assert road.all(LeaseRelease) == []


async def test_a_stop_during_a_start_ends_the_start(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    await road.first(LeaseRequest)

    await spawner.stop()

    with pytest.raises(HTTPError):
        await start
    assert len(road.all(LeaseRelease)) == 1


async def test_deleting_a_server_for_ever_releases_what_it_holds(
    road: stage.Road, door: Door
) -> None:
    spawner = await served(road, door)

    await spawner.delete_forever()

    assert len(road.all(LeaseRelease)) == 1


async def test_a_server_that_holds_a_notebook_is_not_renamed(road: stage.Road, door: Door) -> None:
    spawner = await served(road, door)

    with pytest.raises(HTTPError):
        await spawner.rename("", "other")
    await spawner.stop()
    await spawner.rename("", "other")


async def test_cleared_state_holds_nothing(road: stage.Road, door: Door) -> None:
    spawner = await served(road, door)

    spawner.clear_state()

    await door.tell_inventory()
    assert road.all(HubInventory)[-1].leases == ()
    assert spawner.get_state() == {}
    assert spawner.api_token == ""


@pytest.mark.parametrize("state", [{"lease": 5}, {"lease": "x", "url": None}, {"container": "c"}])
async def test_a_state_of_somebody_else_is_looked_up(
    road: stage.Road, state: dict[str, Any]
) -> None:
    road.answer = stage.snapshots_with()
    door = await stage.open_door(road)
    spawner = stage.spawner(door)

    spawner.load_state(state)

    assert await spawner.poll() == 0
    await door.close()


def test_the_spawner_answers_everything_that_the_hub_may_ask() -> None:
    asked = {
        "start", "stop", "poll", "progress", "get_url", "get_state", "load_state", "clear_state",
        "delete_forever", "rename",
    }  # fmt: skip

    assert asked <= vars(GreenroomSpawner).keys()
    assert issubclass(GreenroomSpawner, Spawner)


async def test_a_snapshot_that_is_late_still_adopts_before_the_hub_looks_for_the_server(
    road: stage.Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "ADOPTION_SECONDS", 0.01)
    lease = identity.lease_id()
    door = await stage.open_door(road)
    spawner = stage.spawner(door)
    spawner.load_state({})
    assert await spawner.poll() is None
    url = asyncio.create_task(spawner.get_url())
    road.answer = stage.snapshots_with(known(lease))

    await door.greet()

    assert await url == f"{stage.URL}/user/ann/"
    await door.close()


async def test_the_first_reason_of_an_end_stands_and_is_told_once(
    road: stage.Road, door: Door
) -> None:
    spawner = await served(road, door)
    lease = road.all(LeaseRequest)[0].lease
    calls: list[str] = []
    stopped = await told(spawner)
    spawner.add_poll_callback(calls.append, "stopped")
    await road.tell(LeaseEnded(lease=lease, reason="died"))

    await road.tell(LeaseEnded(lease=lease, reason="stopped"))

    async with asyncio.timeout(stage.SOON):
        await stopped.wait()
    assert await spawner.poll() == 1
    assert calls == ["stopped"]


async def test_a_stop_of_the_hub_s_own_is_told_back_to_nobody(road: stage.Road, door: Door) -> None:
    spawner = await served(road, door)
    calls: list[str] = []
    spawner.add_poll_callback(calls.append, "stopped")
    spawner._stop_pending = True

    await spawner.stop()
    while spawner._notices:
        await asyncio.wait(set(spawner._notices))

    assert calls == []
