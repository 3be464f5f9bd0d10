"""road    a broker that remembers
door    a hub's connection over it, with one pool named `small`
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.spawner.door import Door
from tests.spawner import stage


@pytest.fixture
def road() -> stage.Road:
    return stage.Road()


@pytest.fixture
async def door(road: stage.Road) -> AsyncIterator[Door]:
    door = await stage.open_door(road, pools=[stage.pool()])
    yield door
    await door.close()
