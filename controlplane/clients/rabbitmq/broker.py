"""What callers hold of RabbitMQ: publish, consume, declare, check."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from controlplane import telemetry
from controlplane.clients.rabbitmq import declare, quarantine
from controlplane.clients.rabbitmq.canary import Canary
from controlplane.clients.rabbitmq.consumer import Consumer, OnDelivery
from controlplane.clients.rabbitmq.faults import CONNECT_SECONDS, Backoff
from controlplane.clients.rabbitmq.link import Link
from controlplane.clients.rabbitmq.publisher import Parcel, Publisher
from controlplane.clients.rabbitmq.quarantine import Quarantined
from controlplane.clients.rabbitmq.routes import Route
from controlplane.clients.rabbitmq.topology import queue as named
from controlplane.errors import Retry, Terminal, Unavailable
from controlplane.messages import Message, encode

# Longer than closing a connection may take.
CANCEL_AGAIN_SECONDS = 5.0
OnConnect = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class Broker:
    """Two connections, one for publishing and one for consuming, kept up in the background.

    `connected` is set while both are up. `died` holds the error of a background task that
    must never end; a worker stops with it, a hub logs it.
    """

    def __init__(
        self, url: str, *, installation: str, source: str, on_connect: OnConnect | None = None
    ) -> None:
        self.installation = installation
        self.source = source
        self.connected = asyncio.Event()
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_connect = on_connect
        self._publishing = Link(url, name=f"{source} publishes", on_change=self._on_change)
        self._consuming = Link(url, name=f"{source} consumes", on_change=self._on_change)
        self._publisher = Publisher(self._publishing)
        self._consumers: list[Consumer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._greeting: asyncio.Task[None] | None = None
        self._canary = Canary(self._publishing, self._publisher, prefix=installation)
        self._canary_consumer: Consumer | None = None
        self._closing = False

    @classmethod
    def start(
        cls, url: str, *, installation: str, source: str, on_connect: OnConnect | None = None
    ) -> Broker:
        """At once; connects in the background, for as long as it takes.

        `on_connect` is called after each connect, when all consumers read again; if it
        raises `Retry` it is called again.
        """
        broker = cls(url, installation=installation, source=source, on_connect=on_connect)
        broker._keep("publishing link", broker._publishing.keep())
        broker._keep("consuming link", broker._consuming.keep())
        return broker

    @classmethod
    async def connect(cls, url: str, *, installation: str, source: str) -> Broker:
        """A connected broker, or `Unavailable` within 5 s."""
        broker = cls.start(url, installation=installation, source=source)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await broker.connected.wait()
        except TimeoutError:
            trouble = broker.trouble
            await broker.close()
            raise Unavailable(f"no connection to RabbitMQ: {trouble}") from None
        return broker

    @property
    def generation(self) -> int:
        """Grows with each new connection."""
        return self._publishing.generation + self._consuming.generation

    @property
    def trouble(self) -> str:
        """Why it is not connected, for people."""
        links = (self._publishing, self._consuming)
        return "; ".join(sorted({link.trouble for link in links if not link.up.is_set()}))

    async def declare(self) -> None:
        """Everything shared. Idempotent. `Unavailable`, or `Refused` for a queue that differs."""
        async with self._consuming.borrowed() as channel:
            await declare.declare_shared(channel, prefix=self.installation)

    async def declare_node(self, node: str) -> str:
        """The queue of an agent's commands; its name."""
        return await self._declare_one(f"node.{node}")

    async def declare_hub(self, hub_process: str) -> str:
        """The queue of a hub process' answers; its name. Gone with this connection; a consumer
        of it declares it again after each reconnect."""
        return await self._declare_one(f"hub.{hub_process}")

    async def publish(
        self, body: Message, route: Route, *, expires_ms: int | None = None, traceparent: str = ""
    ) -> None:
        """Return when the broker has it, within 2 s.

        `Unavailable`: not confirmed; publish the same content again, readers expect twins.
        `Unroutable`: the route is mandatory and no queue takes it. `BadMessage`: too long.
        """
        message_id = uuid4().hex
        raw = encode(
            body,
            id=message_id,
            source=self.source,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            traceparent=traceparent,
        )
        await self._publisher.send(
            Parcel(
                exchange=f"{self.installation}.{route.exchange}" if route.exchange else "",
                key=route.key if route.exchange else f"{self.installation}.{route.key}",
                body=raw,
                message_id=message_id,
                mandatory=route.mandatory,
                persistent=route.persistent,
                expires_ms=route.expires_ms if expires_ms is None else expires_ms,
            )
        )

    async def consume(self, queue: str, on_delivery: OnDelivery, *, prefetch: int) -> Consumer:
        """Read a queue from now on, through reconnects and deletions; declares it.

        Returns at once; `consumer.consuming` is set when the broker sends. `on_delivery` runs
        up to `prefetch` times at once and settles its delivery; what it raises is a bug.
        """
        named(queue)  # an unknown name fails here and not in the background
        consumer = Consumer(
            self._consuming,
            self._publisher,
            queue=queue,
            prefix=self.installation,
            prefetch=prefetch,
            spawn=self._spawn,
        )
        self._consumers.append(consumer)
        self._keep(f"consumer of {queue}", consumer.keep(on_delivery))
        return consumer

    async def check(self) -> None:
        """One message to ourselves over both connections. `Unavailable` if it does not come."""
        if not self.connected.is_set():
            raise Unavailable(f"the broker is not connected: {self.trouble}")
        if self._canary_consumer is None:
            hear = self._canary.hear
            self._canary_consumer = await self.consume(self._canary.queue, hear, prefetch=1)
        await self._canary.fly(self._canary_consumer)

    async def quarantined(self, limit: int = 100) -> list[Quarantined]:
        """The oldest messages in quarantine. They stay there."""
        async with self._consuming.borrowed() as channel:
            return await quarantine.listed(channel, prefix=self.installation, limit=limit)

    async def replay(self, message_id: str) -> bool:
        """Send a quarantined message to its queue again; False if there is no such message.

        `Refused` when something was cut out of it (a seal, the end of an oversized body).
        """
        async with self._consuming.borrowed() as channel:
            return await quarantine.replay(
                channel, self._publisher, prefix=self.installation, message_id=message_id
            )

    async def close(self) -> None:
        """Close both connections. Messages in hand go back to their queues."""
        self._closing = True
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            # A cancellation can be lost on its way: the driver waits with asyncio.wait_for, which
            # before Python 3.12 swallows one now and then, and closing may raise over it.
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
        if not self.died.done():
            self.died.cancel()

    async def _declare_one(self, name: str) -> str:
        async with self._consuming.borrowed() as channel:
            await declare.declare_queue(channel, named(name), prefix=self.installation)
        return name

    def _on_change(self) -> None:
        up = self._publishing.up.is_set() and self._consuming.up.is_set()
        telemetry.BROKER_CONNECTED.set(up)
        if self._greeting is not None:
            self._greeting.cancel()
            self._greeting = None
        if not up:
            self.connected.clear()
            return
        self.connected.set()
        if self._on_connect is not None and not self._closing:
            self._greeting = self._spawn("on_connect", self._greet(self._on_connect))

    async def _greet(self, on_connect: OnConnect) -> None:
        backoff = Backoff()
        while True:
            for consumer in self._consumers:
                if not consumer.paused:
                    await consumer.consuming.wait()
            try:
                await on_connect()
                return
            except Retry as error:
                log.warning("broker.on_connect_failed", error=str(error))
                await asyncio.sleep(backoff.next())
            except Terminal as error:
                log.error("broker.on_connect_refused", error=str(error))
                return

    def _spawn(self, name: str, work: Awaitable[None]) -> asyncio.Task[None]:
        async def run() -> None:
            await work

        task = asyncio.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _keep(self, name: str, work: Awaitable[None]) -> None:
        self._spawn(name, work)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        log.error("broker.task_died", task=task.get_name(), exc_info=task.exception())
        if not self.died.done():
            self.died.set_exception(task.exception() or RuntimeError(task.get_name()))
