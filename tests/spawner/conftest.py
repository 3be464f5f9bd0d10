"""road    a broker that remembers
door    a hub's connection over it, with one pool named `small`
serving_port   a port at which somebody listens
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controlplane.spawner import offers
from controlplane.spawner.door import Door
from tests.spawner import stage


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms of roads on which nobody tells of pools wait no whole second for it."""
    monkeypatch.setattr(offers, "WAIT_SECONDS", 0.2)


@pytest.fixture
def road() -> stage.Road:
    return stage.Road()


@pytest.fixture
async def door(road: stage.Road) -> AsyncIterator[Door]:
    door = await stage.open_door(road, pools=[stage.pool()])
    yield door
    await door.close()


@pytest.fixture
async def serving_port() -> AsyncIterator[int]:
    """Somebody listens here."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
