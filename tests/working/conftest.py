"""A broker of one test: its own exchanges and queues, and none of them left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import aio_pika
import pytest
import structlog

from controlplane.clients.rabbitmq import Broker, Delivery, Quarantined
from controlplane.clients.rabbitmq.topology import EXCHANGES, SHARED
from controlplane.messages import RetireNotebook
from tests.working.fault_proxy import FaultProxy

# Long beyond any machine's bad day; no test waits for it to pass.
DEADLINE = 180.0


@pytest.fixture
async def clean(amqp_url: str, installation: str) -> AsyncIterator[None]:
    """Deletes what the installation declared, at the end."""
    yield
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        nodes = ("node.node1", "node.node2", "node.node3")
        for name in (*(queue.name for queue in SHARED), *nodes):
            await channel.queue_delete(f"{installation}.{name}")
        for name in EXCHANGES:
            await channel.exchange_delete(f"{installation}.{name}")


@pytest.fixture
async def broker(amqp_url: str, installation: str, clean: None) -> AsyncIterator[Broker]:
    """Connected, everything shared declared, and the queue of `node1`."""
    broker = await Broker.connect(amqp_url, installation=installation, source="test")
    await broker.declare()
    await broker.declare_node("node1")
    yield broker
    await broker.close()


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(amqp_url)
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
async def far_broker(proxy: FaultProxy, broker: Broker, installation: str) -> AsyncIterator[Broker]:
    """A second broker object of the same installation, behind the proxy."""
    far = await Broker.connect(proxy.url, installation=installation, source="far")
    yield far
    await far.close()


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """For tests that configure logging as a worker does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


class Inbox:
    """What a consumer got: bodies in order, acked as they come."""

    def __init__(self) -> None:
        self._got: asyncio.Queue[Delivery] = asyncio.Queue()

    async def put(self, delivery: Delivery) -> None:
        await delivery.ack()
        self._got.put_nowait(delivery)

    async def keep(self, delivery: Delivery) -> None:
        """Like `put`, without settling it."""
        self._got.put_nowait(delivery)

    async def next(self) -> Delivery:
        async with asyncio.timeout(DEADLINE):
            return await self._got.get()

    def empty(self) -> bool:
        return self._got.empty()


def retire(reason: str = "") -> RetireNotebook:
    """Some message, told apart by its reason."""
    return RetireNotebook(notebook=str(uuid4()), epoch=1, reason=reason)


async def happens(fact: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110 the fact is somebody else's and tells nobody
            await asyncio.sleep(0.02)


async def in_quarantine(broker: Broker, count: int) -> list[Quarantined]:
    """Everything in quarantine, once `count` are there."""
    async with asyncio.timeout(DEADLINE):
        while len(listed := await broker.quarantined()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return listed
