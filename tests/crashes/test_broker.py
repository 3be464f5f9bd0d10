"""kill -9 of a broker of our own in the middle of a burst: nobody is lost, nobody has two."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.errors import GreenroomError
from controlplane.messages import LeaseRequest, LeaseServing, LineQuestion
from scripts.stack import processes, rabbitmq
from scripts.stack.places import Place
from tests.crashes import verdict
from tests.crashes.conftest import playing
from tests.crashes.stage import Stage

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def private_broker() -> Iterator[Place]:
    place = Place(directory=Path(tempfile.mkdtemp(prefix="greenroom-broker-"))).make()
    yield place
    for name in (rabbitmq.NAME, rabbitmq.MAPPER):
        processes.stop(place, name)
    shutil.rmtree(place.directory, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(
    private_broker: Place, postgres_url: str, redis_database: str
) -> AsyncIterator[Stage]:
    url = await asyncio.to_thread(rabbitmq.start, private_broker)
    async with playing(url, postgres_url, redis_database) as stage:
        yield stage


async def test_a_broker_killed_in_a_burst_and_started_again_loses_nobody(
    stage: Stage, private_broker: Place
) -> None:
    await settled(private_broker)
    pool = await stage.pool(warm=6)
    before = await stage.asks(pool)
    await stage.served(before)
    during = [await stage.asks(pool) for _ in range(4)]

    broker = processes.known(private_broker, rabbitmq.NAME)
    assert broker is not None
    os.kill(broker.pid, signal.SIGKILL)
    await stage.until(lambda: gone(private_broker), "the broker is dead")
    await asyncio.to_thread(rabbitmq.start, private_broker)
    for each in during:
        await asked_until_served(stage, each)

    await verdict.judge(stage, pool, [before, *during])
    await verdict.leaves(stage, pool, [before, *during])


async def settled(place: Place) -> None:
    """RabbitMQ 3.10 keeps for a while in memory that a quorum queue was declared: one that is
    younger than a power cut may never answer again. A broker that stopped in order knows all."""
    await asyncio.to_thread(processes.stop, place, rabbitmq.NAME)
    await asyncio.to_thread(rabbitmq.start, place)


async def gone(place: Place) -> bool:
    broker = processes.known(place, rabbitmq.NAME)
    return broker is None or not broker.alive


async def asked_until_served(stage: Stage, asked: LeaseRequest) -> None:
    """As spawners do: an answer may have died with the broker."""

    async def served() -> bool:
        question = LineQuestion(lease=asked.lease, hub="hub1", hub_process="hub1-a")
        try:
            await stage.hub.asks(question)
        except GreenroomError:
            return False  # not connected again yet
        # What comes is an answer to this question or to an earlier one.
        await asyncio.sleep(0.5)
        return any(m.lease == asked.lease for m in stage.hub.all(LeaseServing))

    await stage.until(served, "an answer")
