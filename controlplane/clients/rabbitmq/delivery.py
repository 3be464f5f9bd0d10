"""One message in hand: settled exactly once, and never before what follows it is safe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog
from aiormq.abc import DeliveredMessage

from controlplane import failpoints, telemetry
from controlplane.clients.rabbitmq.faults import CALL_SECONDS, translated
from controlplane.clients.rabbitmq.publisher import Parcel, Publisher
from controlplane.clients.rabbitmq.quarantine import presentable

# Our own headers; those of a sender are never copied on.
QUEUE = "greenroom-queue"

log = structlog.get_logger()
_TYPE = re.compile(rb'"type"\s*:\s*"([a-z0-9._-]{1,80})"')


class Delivery:
    """A message of a queue, until it is acked, moved or given back.

    `tries` counts how often the broker handed it out before this; only the broker sets it.
    `origin` is the queue that it was first read from, also when it is read from `suspect`.
    """

    def __init__(
        self, message: DeliveredMessage, publisher: Publisher, *, queue: str, prefix: str
    ) -> None:
        self._message = message
        self._publisher = publisher
        self._prefix = prefix
        self.queue = queue

    @property
    def body(self) -> bytes:
        """The bytes as they came."""
        return self._message.body

    @property
    def redelivered(self) -> bool:
        """True when somebody had it before and did not settle it."""
        return bool(self._message.redelivered)

    @property
    def headers(self) -> Mapping[str, Any]:
        """What came beside the body; written by the sender, so not to be trusted."""
        properties = self._message.header.properties
        return properties.headers or {}

    @property
    def tries(self) -> int:
        """How often it came back already. Quorum queues count it."""
        count = self.headers.get("x-delivery-count", 0)
        return count if self.redelivered and isinstance(count, int) else 0

    @property
    def origin(self) -> str:
        """The queue whose handlers understand it."""
        told = self.headers.get(QUEUE)
        return str(told) if self.queue == "suspect" and told else self.queue

    @property
    def kind(self) -> str:
        """The message's type with version if it can be seen without parsing, for logs."""
        found = _TYPE.search(self.body[:4096])
        return found[1].decode() if found else ""

    @property
    def lost(self) -> bool:
        """True when its channel is gone: the broker hands it out again, here or elsewhere."""
        return bool(self._message.channel.is_closed)

    async def ack(self) -> None:
        """Done with. `Unavailable` when the channel is gone."""
        async with translated("ack", CALL_SECONDS):
            # It is in the driver's queue at once, and the broker says nothing to it.
            await self._message.channel.basic_ack(self._tag, wait=False)

    async def give_back(self) -> None:
        """To the front of its queue again, counted."""
        # Not nack: RabbitMQ 4.3 no longer counts a nacked message as tried, a rejected one it does.
        async with translated("give back", CALL_SECONDS):
            await self._message.channel.basic_reject(self._tag, requeue=True)

    @property
    def _tag(self) -> int:
        tag = self._message.delivery_tag
        assert tag is not None
        return tag

    async def to_suspect(self) -> None:
        """Move it to where one message at a time is read; ack when it is there."""
        await self._move("suspect", self.body, {QUEUE: self.queue})
        failpoints.reach("message.suspected")
        await self.ack()

    async def quarantine(self, reason: str, detail: str = "") -> None:
        """Put it where people look, without seals; ack when it is there."""
        body, complete = presentable(self.body)
        headers = {
            QUEUE: self.origin,
            "greenroom-reason": reason,
            "greenroom-detail": detail[:1000].encode("utf-8", "replace").decode(),
            "greenroom-type": self.kind,
            "greenroom-time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "greenroom-complete": complete,
        }
        await self._move("quarantine", body, headers)
        await self.ack()
        telemetry.quarantined(reason)
        log.warning(
            "message.quarantined", queue=self.origin, kind=self.kind, reason=reason, detail=detail
        )

    async def _move(self, exchange: str, body: bytes, headers: dict[str, Any]) -> None:
        await self._publisher.send(
            Parcel(
                exchange=f"{self._prefix}.{exchange}",
                key="",
                body=body,
                message_id=uuid4().hex,
                headers=headers,
            )
        )
