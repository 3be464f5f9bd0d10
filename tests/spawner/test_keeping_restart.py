"""Places that outlive their hub: what a restarted one finds, lists and gives up."""

from __future__ import annotations

import asyncio

from controlplane.messages import (
    HubInventory,
    KnownLease,
    LeaseRelease,
    LeaseRequest,
)
from tests.spawner import stage
from tests.spawner.waiting import again, dry, environment, until_held

# A hub that starts again


async def test_a_killed_hub_s_people_in_line_keep_their_places_for_when_they_come_back(
    road: stage.Road,
) -> None:
    before = await stage.open_door(road, pools=[stage.pool()])
    road.answer = dry
    killed = stage.spawner(before)
    start = asyncio.create_task(killed.start())
    await until_held(before)
    row, lease = killed.orm_spawner.state, road.all(LeaseRequest)[0].lease
    road.door = None
    start.cancel()
    known = KnownLease(lease=lease, user="ann", server="", phase="waiting")
    road.answer = stage.snapshots_with(known, pools=[stage.pool()])
    road.sent.clear()
    door = await stage.open_door(road, greeted=False)
    found = stage.spawner(door)
    found.load_state(row)
    await door.greet()

    status = await found.poll()
    found.clear_state()
    road.answer = stage.serve
    back = again(found, door)
    url = await back.start()

    assert status == 0
    assert url == stage.URL
    assert road.all(LeaseRequest)[-1].lease == lease
    assert environment(road.all(LeaseRequest)[-1])["JUPYTERHUB_API_TOKEN"] == "secret-token"
    await asyncio.gather(start, return_exceptions=True)
    await before.close()
    await door.close()


async def test_places_that_only_the_snapshot_knows_are_listed_until_they_lapse(
    road: stage.Road,
) -> None:
    lease = "0190f3a0-0000-7000-8000-000000000007"
    known = KnownLease(lease=lease, user="ann", server="", phase="waiting")
    road.answer = stage.snapshots_with(known)

    door = await stage.open_door(road)
    await door.tell_inventory()
    listed = road.all(HubInventory)[-1]
    kept = door.places.find(("ann", ""))
    assert kept is not None
    kept.until = 0.0
    await door.sweep_places()
    await door.tell_inventory()

    assert (listed.leases, listed.complete) == ((lease,), True)
    assert road.all(HubInventory)[-1].leases == ()
    assert road.all(LeaseRelease)[0].lease == lease
    await door.close()


async def test_before_the_first_snapshot_no_list_is_complete(road: stage.Road) -> None:
    door = await stage.open_door(road)

    told = road.all(HubInventory)[-1]

    assert (told.complete, told.between) == (False, None)
    await door.close()


async def test_a_server_that_a_starting_hub_cannot_reach_is_kept_for_its_person(
    road: stage.Road, serving_port: int
) -> None:
    url = f"http://127.0.0.1:{serving_port}"
    before = await stage.open_door(road, pools=[stage.pool()])
    road.answer = lambda m: [stage.serving(m.lease, url)] if isinstance(m, LeaseRequest) else []
    ran = stage.spawner(before)
    await ran.start()
    lease = road.all(LeaseRequest)[0].lease
    known = KnownLease(lease=lease, user="ann", server="", phase="serving", url=url)
    road.answer = stage.snapshots_with(known, pools=[stage.pool()])
    door = await stage.open_door(road, greeted=False)
    found = stage.spawner(door)
    found.load_state(ran.get_state())
    await door.greet()

    assert await found.poll() is None
    await found.get_url()
    await found.stop()
    found.clear_state()

    await door.tell_inventory()
    assert road.all(LeaseRelease) == []
    assert road.all(HubInventory)[-1].leases == (lease,)
    assert await again(found, door).start() == url
    await before.close()
    await door.close()


async def test_a_server_that_the_starting_hub_found_is_stopped_by_who_wants_it(
    road: stage.Road,
) -> None:
    lease = "0190f3a0-0000-7000-8000-000000000007"
    known = KnownLease(lease=lease, user="ann", server="", phase="serving", url=stage.URL)
    road.answer = stage.snapshots_with(known)
    door = await stage.open_door(road, greeted=False)
    found = stage.spawner(door)
    found.load_state({"lease": lease, "url": stage.URL})
    await door.greet()
    await found.poll()
    await found.get_url()
    found.add_poll_callback(lambda: None)

    await found.stop()

    assert [(gone.lease, gone.reason) for gone in road.all(LeaseRelease)] == [(lease, "stopped")]
    await door.close()
