"""Redis may be wrong, empty, slow or gone: the same people get the same notebooks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from controlplane.apply import index
from controlplane.errors import Unavailable
from controlplane.messages import ActivateNotebook, LeaseServing
from tests.lease.actors import DEADLINE_SECONDS, Agent, Hub
from tests.lease.conftest import House
from tests.truth.stage import ask, new_id

pytestmark = pytest.mark.services


async def serves(hub: Hub, agent: Agent, people: int = 4) -> None:
    requests = [ask(f"user-{new_id()}") for _ in range(people)]
    await asyncio.gather(*(hub.asks(request) for request in requests))
    for request in requests:
        await hub.hears(LeaseServing, request.lease)
    used = {command.notebook for command in agent.all(ActivateNotebook)}
    leases = {command.lease for command in agent.all(ActivateNotebook)}
    assert len(used) == len(leases)
    assert agent.doubles == []


@pytest.fixture
def dead_port() -> Iterator[int]:
    """Ours, and nobody listens there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
async def silent_redis() -> AsyncIterator[str]:
    """It takes connections and never answers."""

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    server.close()


async def test_a_dead_redis_costs_nobody_a_notebook(house: House, dead_port: int) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(4)
    await house.worker(redis_url=SecretStr(f"redis://127.0.0.1:{dead_port}/0"))

    await serves(hub, agent)


async def test_a_redis_that_hangs_costs_nobody_a_notebook(house: House, silent_redis: str) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(4)
    await house.worker(redis_url=SecretStr(silent_redis))

    await serves(hub, agent)


async def test_flushall_in_between_costs_nobody_a_notebook(house: House, redis_url: str) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(8)
    copy = await house.worker()
    await index.audit(house.postgres, copy.tools.redis)
    await serves(hub, agent)

    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    await serves(hub, agent)


async def test_an_index_that_names_what_is_not_ready_misleads_nobody(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    warm = await house.warm(8)
    copy = await house.worker()
    await serves(hub, agent)
    taken = set(agent.served)
    lies = [*taken, new_id(), new_id(), *[n for n in warm if n not in taken]]

    await copy.tools.redis.audit({"demo": lies, "other": warm})
    await serves(hub, agent)


async def test_two_copies_with_different_ideas_of_redis_share_nothing(
    house: House, silent_redis: str
) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(12)
    await house.worker()
    await house.worker(redis_url=SecretStr(silent_redis))

    await serves(hub, agent, people=12)


async def test_the_index_is_rebuilt_from_postgres(house: House) -> None:
    await house.agent()
    await house.agent("node2")
    await house.warm(2)
    await house.warm(1, "node2")
    copy = await house.worker()
    await copy.tools.redis.audit({"demo": [new_id()], "gone": [new_id()]})

    async with asyncio.timeout(DEADLINE_SECONDS):
        counted = await index.rebuild(house.postgres, copy.tools.redis)

    assert counted == {"demo": 3}


async def test_a_rebuild_without_redis_says_so(house: House, dead_port: int) -> None:
    copy = await house.worker(redis_url=SecretStr(f"redis://127.0.0.1:{dead_port}/0"))

    with pytest.raises(Unavailable, match="GREENROOM_REDIS_URL"):
        await index.rebuild(house.postgres, copy.tools.redis)
