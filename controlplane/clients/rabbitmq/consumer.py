"""One queue being read. Level-based: what is wanted and what is are compared after each change,

so a lost connection, a deleted queue and a consumer that the broker cancelled all end the same
way: declare, consume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel
from aiormq.abc import DeliveredMessage

from controlplane.clients.rabbitmq.declare import declare_queue
from controlplane.clients.rabbitmq.delivery import Delivery
from controlplane.clients.rabbitmq.faults import CALL_SECONDS, Backoff, translated
from controlplane.clients.rabbitmq.link import Link, close_channel
from controlplane.clients.rabbitmq.publisher import Publisher
from controlplane.clients.rabbitmq.topology import queue as named
from controlplane.errors import GreenroomError

OnDelivery = Callable[[Delivery], Awaitable[None]]
Spawn = Callable[[str, Awaitable[None]], object]

log = structlog.get_logger()


class Consumer:
    """Reads a queue until it is cancelled.

    `consuming` is set while the broker sends; `quiet` while nothing new can come.
    """

    def __init__(
        self,
        link: Link,
        publisher: Publisher,
        *,
        queue: str,
        prefix: str,
        prefetch: int,
        spawn: Spawn,
    ) -> None:
        self.queue = queue
        self.consuming = asyncio.Event()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self._link = link
        self._publisher = publisher
        self._prefix = prefix
        self._prefetch = prefetch
        self._spawn = spawn
        self._wanted = True
        self._cancelled = False
        self._changed = asyncio.Event()
        self._tag: str | None = None

    async def pause(self) -> None:
        """Nothing new comes after this; what is in hand stays in hand."""
        self._want(False)
        await self.quiet.wait()

    async def resume(self) -> None:
        """Read on."""
        self._want(not self._cancelled)

    async def cancel(self) -> None:
        """Stop for good. Messages in hand can still be acked until the broker closes."""
        self._cancelled = True
        await self.pause()

    @property
    def paused(self) -> bool:
        """True when nobody wants it to read."""
        return not self._wanted

    async def keep(self, on_delivery: OnDelivery) -> None:
        """Run for ever; cancel to end."""
        backoff = Backoff()
        while True:
            await self._link.up.wait()
            try:
                await self._read(on_delivery, backoff)
            except GreenroomError as error:
                log.warning("consumer.broken", queue=self.queue, error=str(error))
                await asyncio.sleep(backoff.next())

    def _want(self, wanted: bool) -> None:
        self._wanted = wanted
        self._changed.set()

    async def _read(self, on_delivery: OnDelivery, backoff: Backoff) -> None:
        """Follow what is wanted on one channel, until that channel is gone."""
        channel = await self._link.channel()
        channel.close_callbacks.add(self._on_change)
        try:
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(self._on_broker_cancel)
            async with translated("set the prefetch", CALL_SECONDS):
                await channel.set_qos(prefetch_count=self._prefetch)
            while not channel.is_closed:
                self._changed.clear()
                if self._wanted and self._tag is None:
                    await self._start(channel, on_delivery)
                    backoff.reset()
                elif not self._wanted and self._tag is not None:
                    await self._stop(channel)
                await self._changed.wait()
        finally:
            self._not_consuming()
            await close_channel(channel)

    async def _start(self, channel: AbstractChannel, on_delivery: OnDelivery) -> None:
        # Declared each time: it may have been deleted, or the broker may be a new one.
        source = await declare_queue(channel, named(self.queue), prefix=self._prefix)
        underlay = await channel.get_underlay_channel()

        # Past aio_pika's own messages and tasks: they cost as much as ours do.
        async def receive(message: DeliveredMessage) -> None:
            delivery = Delivery(message, self._publisher, queue=self.queue, prefix=self._prefix)
            # In a task of its own: the driver cancels its tasks when the channel closes, and a
            # handler in the middle of a transaction is better left to finish.
            self._spawn(f"delivery of {self.queue}", on_delivery(delivery))

        self.quiet.clear()
        async with translated(f"consume {self.queue}", CALL_SECONDS):
            begun = await underlay.basic_consume(source.name, receive, timeout=CALL_SECONDS)
        self._tag = begun.consumer_tag
        self.consuming.set()
        log.debug("consumer.started", queue=self.queue)

    async def _stop(self, channel: AbstractChannel) -> None:
        underlay = await channel.get_underlay_channel()
        async with translated(f"stop consuming {self.queue}", CALL_SECONDS):
            await underlay.basic_cancel(self._tag or "", timeout=CALL_SECONDS)
        self._not_consuming()

    def _not_consuming(self) -> None:
        self._tag = None
        self.consuming.clear()
        self.quiet.set()

    def _on_change(self, *_: Any) -> None:
        self._changed.set()

    def _on_broker_cancel(self, _frame: object) -> None:
        log.warning("consumer.cancelled_by_broker", queue=self.queue)
        self._not_consuming()
        self._changed.set()
