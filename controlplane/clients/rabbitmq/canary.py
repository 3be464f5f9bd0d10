"""A message to ourselves: tells a process that is deaf from one whose broker is down."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import structlog

from controlplane.clients.rabbitmq.consumer import Consumer
from controlplane.clients.rabbitmq.delivery import Delivery
from controlplane.clients.rabbitmq.link import Link
from controlplane.clients.rabbitmq.publisher import Parcel, Publisher
from controlplane.errors import Retry, Unavailable, Unroutable

CANARY_SECONDS = 5.0

log = structlog.get_logger()


class Canary:
    """One process' own queue, and what sings into it."""

    def __init__(self, link: Link, publisher: Publisher, *, prefix: str) -> None:
        self.queue = f"canary.{uuid4().hex}"
        self._link = link
        self._publisher = publisher
        self._prefix = prefix
        self._heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def fly(self, consumer: Consumer) -> None:
        """Out over the publishing connection and back over the other, or `Unavailable`."""
        self._heard = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CANARY_SECONDS):
                await consumer.consuming.wait()
            await self._sing()
            async with asyncio.timeout(CANARY_SECONDS):
                await self._heard
        except Unroutable as error:
            raise Unavailable(f"the canary's queue is not there: {error}") from None
        except TimeoutError:
            raise Unavailable(f"the canary did not come back in {CANARY_SECONDS:g} s") from None

    async def hear(self, delivery: Delivery) -> None:
        """What its consumer calls."""
        if not self._heard.done():
            self._heard.set_result(None)
        try:
            await delivery.ack()
        except Retry as error:
            # Its connection goes, and with it its queue: that is no reason to die.
            log.debug("canary.not_acked", error=str(error))

    async def _sing(self) -> None:
        parcel = Parcel(
            exchange="",
            key=f"{self._prefix}.{self.queue}",
            body=b"{}",
            message_id=uuid4().hex,
            persistent=False,
        )
        try:
            await self._publisher.send(parcel, seconds=CANARY_SECONDS)
        except Retry as error:
            # Connecting anew costs nobody anything here, and shows whether the broker is down.
            self._link.drop(f"the canary was not confirmed: {error}")
            raise
