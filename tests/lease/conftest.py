"""Real services, a lease worker (or several) in this process, scripted agents and hubs."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import structlog
from pydantic import SecretStr

from controlplane.clients.postgres import Postgres
from controlplane.clients.postgres.migrate import upgrade
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.rabbitmq.delivery import QUEUE
from controlplane.clients.rabbitmq.publisher import Parcel
from controlplane.clients.redis import Index
from controlplane.errors import GreenroomError
from controlplane.messages import Message, encode
from controlplane.settings import Settings
from tests.lease.actors import DEADLINE_SECONDS, Agent, Hub, Quarantine
from tests.truth import stage as truth
from tests.truth.conftest import TABLES, TIMEOUT_SECONDS, Owner
from workers import lease
from workers.lease import sweeps
from workers.loop import Reader
from workers.process import Tick
from workers.suspect import suspect_lane
from workers.tools import Tools


class Copy:
    """One copy of the lease worker."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.work = lease.work(tools)
        # No test here is about a slow handler.
        lanes = [dataclasses.replace(lane, seconds=DEADLINE_SECONDS) for lane in self.work.lanes]
        self._readers = [Reader(tools.broker, lane) for lane in lanes]
        self._ticks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for reader in self._readers:
            await _reads(reader)
        self._ticks = [asyncio.create_task(_repeat(tick)) for tick in self.work.ticks]

    async def takes_suspects(self) -> None:
        """Read what a dead copy had in hand as well."""
        reader = Reader(self.tools.broker, suspect_lane(lease.lanes(self.tools)))
        await _reads(reader)

    async def until_paused(self, queue: str) -> None:
        (reader,) = [reader for reader in self._readers if reader.lane.queue == queue]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while reader.state != "paused":  # noqa: ASYNC110 a state that nobody announces
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """As abrupt as it gets within one process: nothing in hand is finished or acked."""
        left = set(self._ticks)
        while left:
            for tick in left:
                tick.cancel()
            # Drivers may swallow one (see Broker.close).
            _, left = await asyncio.wait(left, timeout=5)
        await self.tools.close()
        died = [tick.exception() for tick in self._ticks if not tick.cancelled()]
        assert died == []


class House:
    """Services with nothing in them, and whoever lives there during one test."""

    def __init__(self, settings: Settings, broker: Broker, postgres: Postgres) -> None:
        self.settings = settings
        self.broker = broker
        self.postgres = postgres
        self.copies: list[Copy] = []

    async def worker(self, **urls: SecretStr) -> Copy:
        """One more copy of the lease worker."""
        settings = self.settings.model_copy(update=urls)
        tools = Tools(
            broker=await Broker.connect(
                settings.amqp_url.get_secret_value(),
                installation=settings.installation,
                source=f"lease-{len(self.copies)}",
            ),
            postgres=await Postgres.connect(
                settings.postgres_url.get_secret_value(), size=4, timeout_seconds=TIMEOUT_SECONDS
            ),
            redis=await Index.connect(
                settings.redis_url.get_secret_value(), installation=settings.installation
            ),
            settings=settings,
            log=structlog.get_logger(),
        )
        copy = Copy(tools)
        self.copies.append(copy)
        await copy.start()
        return copy

    async def hub(self, hub: str = "hub1", process: str = "hub1-a") -> Hub:
        await self.broker.declare_hub(process)
        actor = Hub(self.broker, hub, process)
        await actor.read(f"hub.{process}")
        return actor

    async def agent(self, node: str = "node1") -> Agent:
        """A node with its agent."""
        await self.broker.declare_node(node)
        actor = Agent(self.broker, node)
        await actor.read(f"node.{node}")
        await truth.node(self.postgres, node)
        return actor

    async def suspected(self, request: Message) -> None:
        """Put a request where a reader moves one that it finds delivered before."""
        body = encode(request, id=secrets.token_hex(16), source="test", time="")
        parcel = Parcel(
            exchange=f"{self.settings.installation}.suspect",
            key="",
            body=body,
            message_id=secrets.token_hex(16),
            headers={QUEUE: "lease.requests"},
        )
        await self.broker._publisher.send(parcel, seconds=DEADLINE_SECONDS)

    async def quarantine(self) -> Quarantine:
        actor = Quarantine(self.broker)
        await actor.read("quarantine")
        return actor

    async def warm(self, count: int, node: str = "node1", *, pool: str = "demo") -> list[str]:
        return [await truth.warm(self.postgres, node, pool=pool) for _ in range(count)]


async def _reads(reader: Reader) -> None:
    consumer = await reader.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await consumer.consuming.wait()


async def _repeat(tick: Tick) -> None:
    own = asyncio.current_task()
    assert own is not None
    # A driver's own error may stand in for the cancellation, as in workers/process.py.
    while not own.cancelling():
        try:
            await tick.call()
        except GreenroomError as error:
            structlog.get_logger().warning("tick.failed", tick=tick.name, error=str(error))
        await asyncio.sleep(tick.every_seconds)


@pytest.fixture(scope="module")
def migrated_url(postgres_url: str) -> str:
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents here are slow only because the machine is."""
    monkeypatch.setattr(sweeps, "ACCEPT_SECONDS", 3600.0)


@pytest.fixture
def owner(migrated_url: str) -> Iterator[Owner]:
    with psycopg.connect(migrated_url, autocommit=True, connect_timeout=60) as connection:
        yield Owner(connection)


@pytest.fixture
async def house(
    amqp_url: str,
    migrated_url: str,
    redis_url: str,
    installation: str,
    owner: Owner,
    patience: None,
) -> AsyncIterator[House]:
    with owner.without_triggers():
        for table in TABLES:
            owner.run(f"delete from {table}")
    settings = Settings(
        installation=installation,
        amqp_url=SecretStr(amqp_url),
        postgres_url=SecretStr(migrated_url),
        redis_url=SecretStr(redis_url),
    )
    broker = await Broker.connect(amqp_url, installation=installation, source="test")
    await broker.declare()
    postgres = await Postgres.connect(migrated_url, size=2, timeout_seconds=TIMEOUT_SECONDS)
    house = House(settings, broker, postgres)
    await postgres.pools.apply([truth.spec()], remove_missing=False)
    yield house
    for copy in house.copies:
        await copy.kill()
    await postgres.close()
    await broker.close()
    await _remove(amqp_url, installation)


async def _remove(amqp_url: str, installation: str) -> None:
    """Queues and exchanges of this test alone: the broker is shared and lives on."""
    import aio_pika

    from controlplane.clients.rabbitmq.topology import EXCHANGES, SHARED

    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        names = [q.name for q in SHARED] + [f"node.node{n}" for n in range(1, 4)]
        for name in names:
            await channel.queue_delete(f"{installation}.{name}")
        for name in EXCHANGES:
            await channel.exchange_delete(f"{installation}.{name}")
