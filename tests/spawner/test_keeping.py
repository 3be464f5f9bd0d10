"""Who has to wait outside the hub keeps the place, and whatever comes of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import HTTPError

from controlplane.messages import (
    HubInventory,
    LeaseClaimed,
    LeaseEnded,
    LeaseRelease,
    LeaseRequest,
)
from controlplane.spawner import keeping
from controlplane.spawner import spawner as spawner_module
from controlplane.spawner.door import Door
from tests.spawner import stage
from tests.spawner.waiting import again, aside, dry, environment, place, until_held


async def test_who_finds_no_room_is_asked_to_come_back_and_keeps_the_lease(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry

    error = await aside(stage.spawner(door, hold_in_start=0))

    lease = road.all(LeaseRequest)[0].lease
    await door.tell_inventory()
    assert error.status_code == 429
    assert getattr(error, "reason", None) in ("queue", None)
    assert "Number 1 in line for pool small" in error.jupyterhub_message
    assert 1 <= int(error.headers["Retry-After"]) <= 30
    assert road.all(LeaseRelease) == []
    assert road.all(HubInventory)[-1].leases == (lease,)


async def test_as_many_as_there_is_room_for_wait_in_the_hub(road: stage.Road, door: Door) -> None:
    road.answer = dry
    held = asyncio.create_task(stage.spawner(door, user="first", hold_in_start=1).start())
    await until_held(door)
    second = stage.spawner(door, user="second", hold_in_start=1)

    error = await aside(second)
    first_lease, second_lease = (request.lease for request in road.all(LeaseRequest))
    await road.tell(stage.serving(first_lease))
    url = await held
    back = asyncio.create_task(again(second, door, hold_in_start=1).start())
    await until_held(door)
    await road.tell(stage.serving(second_lease))

    assert error.status_code == 429
    assert (url, await back) == (stage.URL, stage.URL)


async def test_who_comes_back_takes_up_the_same_lease_with_the_same_token(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    await aside(first)
    road.answer = stage.serve

    url = await again(first, door).start()

    before, after = road.all(LeaseRequest)
    assert url == stage.URL
    assert (after.lease, before.renewed, after.renewed) == (before.lease, False, True)
    assert environment(after)["JUPYTERHUB_API_TOKEN"] == "secret-token"
    assert door.places.find(("ann", "")) is None
    assert road.all(LeaseRelease) == []


async def test_the_hub_is_told_to_leave_the_token_alone_and_only_then(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    spawner = stage.spawner(door, hold_in_start=0)
    with pytest.raises(HTTPError):
        await spawner.start()

    while_it_is_stopped = spawner.will_resume
    spawner.clear_state()

    assert (while_it_is_stopped, spawner.will_resume) == (True, False)
    assert "secret-token" not in repr(spawner.get_state())


async def test_a_notebook_that_came_meanwhile_serves_at_once(
    road: stage.Road, door: Door, serving_port: int
) -> None:
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    await aside(first)
    url = f"http://127.0.0.1:{serving_port}"
    await road.tell(stage.serving(road.all(LeaseRequest)[0].lease, url))
    road.answer = lambda message: ()

    back = again(first, door, hold_in_start=0)

    assert await back.start() == url
    assert back.api_token == "secret-token"
    assert len(road.all(LeaseRequest)) == 1


async def test_who_comes_back_to_a_backup_is_told_so_as_well(
    road: stage.Road, door: Door, serving_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "BACKUP_SAID_SECONDS", 3600.0)
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    await aside(first)
    url = f"http://127.0.0.1:{serving_port}"
    await road.tell(stage.serving(road.all(LeaseRequest)[0].lease, url, home="backup-ro"))
    road.answer = lambda message: ()
    back = again(first, door, hold_in_start=0, start_timeout=7200)

    start = asyncio.create_task(back.start())
    async with asyncio.timeout(stage.SOON):
        said = [event async for event in back.progress()][-1]
    await asyncio.wait([start], timeout=0.1)
    still_there = not start.done()
    start.cancel()
    await asyncio.wait([start])

    assert "you have its backup, read-only" in said["message"]
    assert still_there


async def test_a_notebook_that_came_meanwhile_and_cannot_be_reached_is_not_waited_for(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "REACH_SECONDS", 0.05)
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    await aside(first)
    old = road.all(LeaseRequest)[0].lease
    await road.tell(stage.serving(old, "http://127.0.0.1:1"))
    road.answer = stage.serve

    url = await again(first, door).start()

    assert url == stage.URL
    assert road.all(LeaseRequest)[-1].lease != old
    assert len(door.places) == 0


async def test_who_chooses_something_else_gives_the_place_up(road: stage.Road, door: Door) -> None:
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    await aside(first)
    road.answer = stage.serve

    await again(first, door, pool="large").start()

    before, after = road.all(LeaseRequest)
    await door.tell_inventory()
    assert (after.pool, after.renewed) == ("large", False)
    assert after.lease != before.lease
    assert road.all(HubInventory)[-1].leases == (after.lease,)


async def test_a_place_that_nobody_comes_back_for_is_released(road: stage.Road, door: Door) -> None:
    road.answer = dry
    spawner = stage.spawner(door, hold_in_start=0)
    revoked: list[str] = []
    spawner._revoke = revoked.append  # type: ignore[method-assign]
    await aside(spawner)
    kept = door.places.find(("ann", ""))
    assert kept is not None
    await door.sweep_places()
    before = road.all(LeaseRelease)

    kept.until = 0.0
    await door.sweep_places()

    lease = road.all(LeaseRequest)[0].lease
    assert before == []
    assert [(gone.lease, gone.reason) for gone in road.all(LeaseRelease)] == [(lease, "cancelled")]
    assert revoked == ["secret-token"]
    assert spawner.get_state() == {}


async def test_a_page_that_looks_keeps_the_place_and_starts_when_it_is_its_turn(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    spawner = stage.spawner(door, hold_in_start=0)
    error = await aside(spawner)
    kept = door.places.find(("ann", ""))
    assert kept is not None
    kept.until = 0.0

    waits = error.jupyterhub_html_message
    lasts = kept.until - door.now()
    await road.tell(
        LeaseClaimed(lease=kept.claim.lease, attempt=1, notebook=stage.NOTEBOOK, node="n1")
    )
    found = error.jupyterhub_html_message

    assert 0 < lasts <= 60
    assert "url=/hub/spawn-pending/ann" in waits
    assert "url=/hub/spawn/ann" in found
    assert "A notebook is there for you" in found


async def test_a_page_goes_back_with_what_was_chosen_and_where_it_was_going(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    spawner = stage.spawner(door, hold_in_start=0, pool="")
    spawner.user_options = {"profile": "small"}
    spawner.handler = SimpleNamespace(get_query_argument=lambda name, default: "/hub/<x>&y")

    await aside(spawner)

    assert spawner._standing is not None
    addresses = spawner._standing._addresses
    assert addresses.start.endswith("profile=small&next=%2Fhub%2F%3Cx%3E%26y")
    assert addresses.look == "/hub/spawn-pending/ann?next=%2Fhub%2F%3Cx%3E%26y"


async def test_those_in_front_come_back_first(road: stage.Road, door: Door) -> None:
    road.answer = dry
    names = ["ann", "bob", "cy"]
    errors = [await aside(stage.spawner(door, user=name, hold_in_start=0)) for name in names]
    for number, request in enumerate(road.all(LeaseRequest), start=1):
        await road.tell(place(request.lease, number))
    for error in errors:
        error._standing._hold = 1

    starts = ["url=/hub/spawn/" in error.jupyterhub_html_message for error in errors]
    front = door.places.find(("ann", ""))
    assert front is not None
    front.seen -= 3600.0
    without_her = ["url=/hub/spawn/" in error.jupyterhub_html_message for error in errors[1:]]

    assert starts == [True, False, False]
    assert without_her == [True, False]


async def test_when_nobody_says_anything_there_is_no_more_room_either(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "HEARD_SECONDS", 0.01)

    error = await aside(stage.spawner(door, hold_in_start=0))

    assert error.status_code == 429
    assert "in line for a notebook of pool small" in error.jupyterhub_message
    assert road.all(LeaseRelease) == []


async def test_a_warm_start_needs_no_room(road: stage.Road, door: Door) -> None:
    road.answer = stage.serve

    assert await stage.spawner(door, hold_in_start=0).start() == stage.URL
    assert door.places.held == 0


async def test_a_lease_that_ended_while_its_place_was_kept_is_asked_for_anew(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    first = stage.spawner(door, hold_in_start=0)
    error = await aside(first)
    old = road.all(LeaseRequest)[0].lease
    await road.tell(LeaseEnded(lease=old, reason="expired"))
    road.answer = stage.serve

    says = error.jupyterhub_html_message
    url = await again(first, door).start()

    assert "url=/hub/spawn/ann" in says
    assert url == stage.URL
    assert road.all(LeaseRequest)[-1].lease != old


async def test_the_form_says_how_somebody_stands_who_just_chose(
    road: stage.Road, door: Door
) -> None:
    road.answer = dry
    await road.tell(stage.snapshot(pools=[stage.pool("small"), stage.pool("large")]))
    spawner = stage.spawner(door, hold_in_start=0)
    plain = await spawner.get_options_form()
    await aside(spawner)

    after_the_choice = await spawner.get_options_form()
    spawner.handler = SimpleNamespace()
    to_choose_anew = await spawner.get_options_form()

    assert "greenroom-line" in after_the_choice
    assert after_the_choice.endswith(plain)
    assert to_choose_anew == plain


async def test_a_person_who_is_deleted_leaves_the_line(road: stage.Road, door: Door) -> None:
    road.answer = dry
    spawner = stage.spawner(door, hold_in_start=0)
    await aside(spawner)

    await spawner.delete_forever()

    assert len(road.all(LeaseRelease)) == 1
    assert len(door.places) == 0


def later(spawner: Any, door: Door, monkeypatch: pytest.MonkeyPatch, now: float) -> Any:
    """Its request, made so late."""
    request = spawner._request

    async def late() -> LeaseRequest:
        made: LeaseRequest = await request()
        monkeypatch.setattr(door, "now", lambda: now)
        return made

    return late


async def test_a_start_ends_before_the_hub_counts_it_as_a_failure(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came before the request: the hub's timeout counts from the call on."""
    road.answer = dry
    waits: list[float] = []

    async def wait_served(claim: Any, seconds: float, pauses: Any) -> None:
        waits.append(seconds)

    spawner = stage.spawner(door, start_timeout=100)
    monkeypatch.setattr(spawner, "_wait_served", wait_served)
    began = door.now() - 20

    monkeypatch.setattr(door, "now", lambda: began)
    monkeypatch.setattr(spawner, "_request", later(spawner, door, monkeypatch, began + 20))
    with pytest.raises(HTTPError):
        await spawner.start()

    assert waits == [100 - 20 - spawner_module.BEFORE_TIMEOUT_SECONDS]
