"""One AMQP connection, kept up. Publishing and consuming each have their own.

The driver's own "robust" connection is not used: it restores consumers of deleted queues
and cancelled consumers only in part, and we need to know exactly when it is up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from yarl import URL

from controlplane.clients.rabbitmq.faults import CALL_SECONDS, CONNECT_SECONDS, Backoff, translated
from controlplane.errors import BadSettings, Unavailable

# With 10 s both sides notice a silent peer within half a minute.
HEARTBEAT_SECONDS = 10
CLOSE_SECONDS = 2.0

log = structlog.get_logger()


class Link:
    """Connects in the background and again whenever the connection goes.

    `up` is set while connected; `on_change` is called after each change of it.
    """

    def __init__(self, url: str, *, name: str, on_change: Callable[[], None]) -> None:
        _quiet_driver()
        self._url = _checked(url).update_query(heartbeat=HEARTBEAT_SECONDS, name=name)
        self._name = name
        self._on_change = on_change
        self._connection: AbstractConnection | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self.up = asyncio.Event()
        self.generation = 0  # grows with each connection, so a channel of an old one is known
        self.trouble = "not connected yet"

    async def keep(self) -> None:
        """Run for ever; cancel to close."""
        backoff = Backoff()
        try:
            while True:
                try:
                    await self._connect()
                except Unavailable as error:
                    await self._wait_after(error, backoff.next())
                    continue
                backoff.reset()
                await self._gone.wait()
                await self._forget()
        finally:
            await self._forget()

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """A new channel, or `Unavailable` at once while there is no connection."""
        connection = self._connection
        if connection is None or not self.up.is_set():
            raise Unavailable(f"the broker is not connected: {self.trouble}")
        channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
        try:
            async with translated("open a channel", CALL_SECONDS):
                await channel.initialize(timeout=CALL_SECONDS)
        except Unavailable as error:
            # The driver tells of a lost connection some turns of the event loop later.
            self._lose(connection, str(error))
            raise
        return channel

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[AbstractChannel]:
        """A channel for one job; what is unacked at its end goes back to its queue."""
        channel = await self.channel()
        try:
            yield channel
        finally:
            await close_channel(channel)

    def drop(self, why: str) -> None:
        """Give this connection up: it is there and does not work. A new one follows."""
        log.warning("broker.dropped", link=self._name, why=why)
        self._lose(self._connection, why)

    async def _connect(self) -> None:
        self._gone.clear()
        async with translated("connect to the broker", CONNECT_SECONDS + 1):
            connection = await aio_pika.connect(self._url, timeout=CONNECT_SECONDS)
        connection.close_callbacks.add(self._on_closed)
        self._connection = connection
        self.generation += 1
        log.info("broker.connected", link=self._name)
        self.up.set()
        self._on_change()

    def _on_closed(self, sender: object, error: BaseException | None = None) -> None:
        why = f"{type(error).__name__}: {error}"[:300] if error else "closed"
        self._lose(sender, why)

    def _lose(self, connection: object, why: str) -> None:
        if connection is not self._connection or self._gone.is_set():
            return
        self.trouble = why
        self.up.clear()
        self._gone.set()
        self._on_change()

    async def _forget(self) -> None:
        self._lose(self._connection, "closed by us")
        connection, self._connection = self._connection, None
        if connection is None:
            return
        log.info("broker.disconnected", link=self._name, why=self.trouble)
        try:
            async with translated("close the connection", CLOSE_SECONDS):
                await connection.close()
        except Unavailable as error:
            # The broker frees it when heartbeats stop; nothing here waits for that.
            log.debug("broker.close_unanswered", link=self._name, error=str(error))

    async def _wait_after(self, error: Unavailable, seconds: float) -> None:
        if str(error) != self.trouble:
            log.warning("broker.unreachable", link=self._name, error=str(error))
        self.trouble = str(error)
        await asyncio.sleep(seconds)


def _quiet_driver() -> None:
    # A lost connection is ours to tell, once and in one line; the driver tells it five times,
    # with tracebacks, into a hub's log or an operator's terminal.
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _checked(url: str) -> URL:
    """`BadSettings` for what can never connect; the URL itself holds a password and is not told."""
    try:
        checked = URL(url)
        fits = checked.scheme in ("amqp", "amqps") and checked.host is not None
    except ValueError:
        fits = False
    if not fits:
        raise BadSettings("amqp_url does not fit: write amqp://user:password@host:5672/vhost")
    return checked


async def close_channel(channel: AbstractChannel) -> None:
    """Close it, or leave that to the broker."""
    try:
        async with translated("close a channel", CLOSE_SECONDS):
            await channel.close()
    except Unavailable as error:
        log.debug("channel.close_unanswered", error=str(error))
