"""Workers on real services, with agents that follow a script instead of having an engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aio_pika
import psycopg
import pytest
import structlog
from psycopg import sql

from controlplane.clients.postgres import Postgres
from controlplane.clients.postgres.migrate import upgrade
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.rabbitmq.topology import EXCHANGES, SHARED
from controlplane.clients.redis import Index
from controlplane.model import ContainerSpec, PoolSpec
from controlplane.settings import Settings
from tests.refill.agents import NODES, ScriptedAgent
from workers import liveness, process, refill
from workers.tools import Tools

# Far beyond any machine's bad day; no test waits for it to pass.
DEADLINE_SECONDS = 90.0
POSTGRES_SECONDS = 30.0


@pytest.fixture(scope="module")
def migrated_url(postgres_url: str) -> str:
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def empty_url(migrated_url: str) -> str:
    """The module's database with nothing in it."""
    with psycopg.connect(migrated_url, autocommit=True, connect_timeout=30) as owner:
        found = owner.execute(
            "select tablename from pg_tables where schemaname = 'public' "
            "and tablename not in ('alembic_version', 'moves')"
        ).fetchall()
        tables = sql.SQL(", ").join(sql.Identifier(name) for (name,) in found)
        owner.execute(sql.SQL("truncate {} cascade").format(tables))
    return migrated_url


class Stage:
    """One installation: services, workers of it, agents, and what a test asks of them."""

    def __init__(self, urls: tuple[str, str], installation: str, stack: AsyncExitStack) -> None:
        self.amqp_url, self.postgres_url = urls
        self.installation = installation
        self._stack = stack
        self.postgres: Postgres
        self.broker: Broker

    async def open(self) -> None:
        self.postgres = await self._postgres()
        self.broker = await self._broker("test")
        await self.broker.declare()

    async def agent(self, node: str = "a", *, places: int = 100) -> ScriptedAgent:
        """An agent on a node that is ready."""
        agent = await self.unknown_agent(node)
        await self.postgres.nodes.hello(agent.hello(places=places))
        return agent

    async def unknown_agent(self, node: str) -> ScriptedAgent:
        """An agent that nobody has heard of yet."""
        agent = ScriptedAgent(await self._broker(node), node)
        await agent.open()
        return agent

    async def refill(self) -> None:
        """One more copy of the refill worker."""
        await self._work("refill", refill.work)

    async def liveness(self) -> None:
        """One more copy of the liveness worker."""
        await self._work("liveness", liveness.work)

    async def apply(self, *pools: PoolSpec, remove_missing: bool = False) -> None:
        await self.postgres.pools.apply(pools, remove_missing=remove_missing)

    async def counts(self, pool: str = "lab") -> dict[str, int]:
        """Notebooks by phase, without those that are gone."""
        return (await self.postgres.notebooks.counts()).get(pool, {})

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until this holds, or fail with how things are."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                # Rows make no sound: they are looked at until the deadline.
                while not await holds():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            nodes = [(n.node, n.state.value) for n in await self.postgres.nodes.list()]
            pytest.fail(f"not in {DEADLINE_SECONDS:g} s: {await self.counts()} on {nodes}")

    async def until_counted(self, **phases: int) -> None:
        """Wait until the pool `lab` has exactly these notebooks."""

        async def holds() -> bool:
            return await self.counts() == phases

        await self.until(holds)

    async def tools(self, source: str) -> Tools:
        """What a worker works with; Redis is away, and neither of these two needs it."""
        settings = Settings(installation=self.installation, http_port=0)
        return Tools(
            broker=await self._broker(source),
            postgres=await self._postgres(),
            redis=await Index.connect("redis://127.0.0.1:1/0", installation=self.installation),
            settings=settings,
            log=structlog.get_logger(),
        )

    async def _work(self, name: str, work: Callable[[Tools], process.Work]) -> None:
        tools = await self.tools(name)
        running = asyncio.create_task(
            process.run(name, tools.settings, tools.broker, work(tools)), name=name
        )
        self._stack.push_async_callback(_stopped, running)

    async def _broker(self, source: str) -> Broker:
        broker = await Broker.connect(self.amqp_url, installation=self.installation, source=source)
        self._stack.push_async_callback(broker.close)
        return broker

    async def _postgres(self) -> Postgres:
        postgres = await Postgres.connect(
            self.postgres_url, size=4, timeout_seconds=POSTGRES_SECONDS
        )
        self._stack.push_async_callback(postgres.close)
        return postgres


async def _stopped(running: asyncio.Task[None]) -> None:
    """A worker that died before it was told to stop fails its test."""
    if not running.done():
        running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        return


@asynccontextmanager
async def _declared(amqp_url: str, installation: str) -> AsyncIterator[None]:
    yield
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        for name in (*(queue.name for queue in SHARED), *(f"node.{node}" for node in NODES)):
            await channel.queue_delete(f"{installation}.{name}")
        for name in EXCHANGES:
            await channel.exchange_delete(f"{installation}.{name}")


@pytest.fixture
async def stage(amqp_url: str, empty_url: str, installation: str) -> AsyncIterator[Stage]:
    async with _declared(amqp_url, installation), AsyncExitStack() as stack:
        stage = Stage((amqp_url, empty_url), installation, stack)
        await stage.open()
        yield stage


def lab(**more: object) -> PoolSpec:
    """The pool `lab`; `image` goes where it belongs."""
    container = ContainerSpec(image=str(more.pop("image", "lab:1")))
    if "warm_per_node" not in more:
        more.setdefault("warm", 3)
    return PoolSpec.model_validate({"name": "lab", "container": container, **more})
