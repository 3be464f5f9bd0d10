"""Three barriers against leasing one notebook twice; here the first two, each alone.

The third, one activation in a container's life, is tested with warm_start and the agent.
"""

from __future__ import annotations

import asyncio

import pytest

from controlplane.clients.postgres import Granted
from controlplane.clients.redis import Index
from controlplane.messages import ActivateNotebook, LeaseServing
from tests.lease.conftest import House
from tests.truth.stage import ask, new_id

pytestmark = pytest.mark.services


async def test_postgres_alone_gives_a_notebook_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis names the same notebook to everybody, and the agent takes every order."""
    hub, agent = await house.hub(), await house.agent()
    warm = await house.warm(10)

    async def the_same(_: Index, __: str) -> str:
        return warm[0]

    monkeypatch.setattr(Index, "pop", the_same)
    await house.worker()
    await house.worker()
    requests = [ask(f"user{n}") for n in range(10)]

    await asyncio.gather(*(hub.asks(request) for request in requests))
    for request in requests:
        await hub.hears(LeaseServing, request.lease)

    claimed = {(m.notebook, m.lease) for m in agent.all(ActivateNotebook)}
    assert sorted(notebook for notebook, _ in claimed) == sorted(warm)
    assert agent.doubles == []


async def test_postgres_alone_gives_a_notebook_once_to_many_at_once(house: House) -> None:
    """No worker in between: the statement itself, from many connections, for one notebook."""
    await house.agent()
    (only,) = await house.warm(1)
    copies = [await house.worker() for _ in range(2)]

    async def claim(n: int) -> Granted:
        return await copies[n % 2].tools.postgres.leases.request(ask(f"user{n}"), only)

    granted = await asyncio.gather(*(claim(n) for n in range(12)))

    assert [g.lease.notebook for g in granted if g.lease.notebook] == [only]


async def test_redis_alone_gives_a_notebook_once(redis_url: str, installation: str) -> None:
    """Nobody but the pop in between, and no audit that adds again what was popped."""
    warm = [new_id() for _ in range(10)]
    indexes = [await Index.connect(redis_url, installation=installation) for _ in range(2)]
    await indexes[0].audit({"demo": warm})

    async def pop(n: int) -> str | None:
        index = indexes[n % 2]
        found = await index._pop(keys=[index._key("generation"), index._key("ready:demo")])
        return found.decode() if found else None

    found = await asyncio.gather(*(pop(n) for n in range(20)))
    for index in indexes:
        await index.close()

    assert sorted(notebook for notebook in found if notebook) == sorted(warm)
