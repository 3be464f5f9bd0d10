"""A dry pool's road, and people who wait outside the hub and come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from tornado.web import HTTPError

from controlplane.messages import (
    LeaseRequest,
    LinePlaces,
    Message,
    Place,
)
from controlplane.spawner import GreenroomSpawner
from controlplane.spawner.door import Door
from tests.spawner import stage


def place(lease: str, number: int = 1, pool: str = "small") -> LinePlaces:
    mine = Place(lease=lease, place=number)
    return LinePlaces(pool=pool, why="warming", warming=2, eta_seconds=12, places=(mine,))


def dry(message: Message) -> Iterable[Message]:
    """A pool with nothing: everybody hears of a place."""
    if isinstance(message, LeaseRequest):
        yield place(message.lease)


def again(spawner: GreenroomSpawner, door: Door, **changes: Any) -> GreenroomSpawner:
    """What the hub makes for the next start of this server: it knows the row alone."""
    options = changes.pop("options", None)
    after = stage.spawner(door, user=spawner.user.name, **changes)
    after.load_state(spawner.get_state())
    after.api_token = "fresh-token"
    if options is not None:
        after.user_options = options
    return after


async def aside(spawner: GreenroomSpawner) -> HTTPError:
    """The answer to a start for which there is no room in the hub."""
    with pytest.raises(HTTPError) as caught:
        await spawner.start()
    spawner.clear_state()
    return caught.value


async def until_held(door: Door) -> None:
    """Return when somebody waits in a start()."""
    async with asyncio.timeout(stage.SOON):
        while door.places.held == 0:  # noqa: ASYNC110 nobody announces it
            await asyncio.sleep(0)


def environment(request: LeaseRequest) -> dict[str, str]:
    """What the notebook of this request is told."""
    inside = json.loads(Fernet(stage.KEY).decrypt(request.sealed.encode()))
    told: dict[str, str] = inside["environment"]
    return told
