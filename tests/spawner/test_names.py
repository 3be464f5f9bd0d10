"""Whose server it is: names of people, servers and hubs."""

from __future__ import annotations

import asyncio

import pytest
from tornado.web import HTTPError

from controlplane.messages import LeaseRequest
from controlplane.spawner.door import Door
from tests.spawner import stage


async def test_hostile_names_travel_intact(road: stage.Road, door: Door) -> None:
    road.answer = stage.serve
    user = "../..;$(reboot) %00 \"';\n{username} ☃\u202e"
    spawner = stage.spawner(door, user=user)
    spawner.user.base_url = spawner.server.base_url = "/user/%2E%2E/"

    await spawner.start()

    assert road.all(LeaseRequest)[0].user == user


@pytest.mark.parametrize("user", ["x" * 256, "nul\0byte"])
async def test_a_name_that_cannot_travel_is_refused(
    road: stage.Road, door: Door, user: str
) -> None:
    spawner = stage.spawner(door, user=user)
    spawner.user.base_url = spawner.server.base_url = "/user/x/"
    spawner.environment = {"JUPYTERHUB_USER": "x"}

    with pytest.raises(HTTPError):
        await spawner.start()

    assert road.all(LeaseRequest) == []


async def test_named_servers_ask_under_their_name(road: stage.Road, door: Door) -> None:
    road.answer = stage.serve

    await stage.spawner(door, name="second").start()

    request = road.all(LeaseRequest)[0]
    assert (request.server, request.prefix) == ("second", "/user/ann/second/")


async def test_two_hubs_of_one_greenroom_do_not_hear_each_other() -> None:
    roads = stage.Road(), stage.Road()
    doors = [
        await stage.open_door(road, pools=[stage.pool()], hub=hub)
        for road, hub in zip(roads, ("hub1", "hub2"), strict=True)
    ]
    starts = [asyncio.create_task(stage.spawner(door).start()) for door in doors]
    first, second = [await road.first(LeaseRequest) for road in roads]
    await roads[1].tell(stage.serving(first.lease, "http://10.9.9.9:1"))
    await roads[0].tell(stage.serving(first.lease))
    await roads[1].tell(stage.serving(second.lease, "http://10.1.2.4:2"))

    urls = [await start for start in starts]

    assert urls == [stage.URL, "http://10.1.2.4:2"]
    assert (first.hub, second.hub) == ("hub1", "hub2")
    assert first.hub_process != second.hub_process
    for door in doors:
        await door.close()
