"""Publishing: one channel with confirms that all callers share, so that confirms pipeline."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter

import aiormq
from aio_pika.abc import AbstractChannel, HeadersType

from controlplane import telemetry
from controlplane.clients.rabbitmq.faults import PUBLISH_SECONDS, translated
from controlplane.clients.rabbitmq.link import Link
from controlplane.errors import GreenroomError, Refused

# A channel whose confirms stay away this often in a row is taken for broken.
LATE_IN_A_ROW = 3
# A timer that is so late itself says nothing about the broker.
OWN_LATENESS_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Bytes on their way. `exchange` and `key` are the broker's own names."""

    exchange: str
    key: str
    body: bytes
    message_id: str
    mandatory: bool = True
    persistent: bool = True
    expires_ms: int | None = None
    headers: HeadersType = field(default_factory=dict)

    def properties(self) -> aiormq.spec.Basic.Properties:
        """What AMQP says beside the body."""
        return aiormq.spec.Basic.Properties(
            content_type="application/json",
            delivery_mode=2 if self.persistent else 1,
            message_id=self.message_id,
            expiration=None if self.expires_ms is None else str(self.expires_ms),
            headers=dict(self.headers) or None,
        )


class Publisher:
    """Sends parcels over a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: AbstractChannel | None = None
        self._generation = 0
        self._opening = asyncio.Lock()
        self._late = 0

    async def send(self, parcel: Parcel, *, seconds: float = PUBLISH_SECONDS) -> None:
        """Return when the broker has it. `Unavailable` within `seconds`, or `Unroutable`.

        After `Unavailable` the broker may have it all the same: send it again, readers are
        used to seeing a message twice.
        """
        started = perf_counter()
        what = f"publish to {parcel.exchange or 'queue'} / {parcel.key}"
        try:
            async with translated(what, seconds):
                await self._send(parcel)
        except GreenroomError as error:
            telemetry.publish_failed(parcel.exchange, error)
            self._count_late(seconds, perf_counter() - started)
            # A caller that tries again at once must not keep the event loop from reconnecting.
            await asyncio.sleep(0)
            raise
        self._late = 0
        telemetry.published(parcel.exchange)
        telemetry.PUBLISH_SECONDS.observe(perf_counter() - started)

    async def _send(self, parcel: Parcel) -> None:
        await self._link.up.wait()
        channel = self._usable() or await self._open()
        underlay = await channel.get_underlay_channel()
        try:
            await underlay.basic_publish(
                parcel.body,
                exchange=parcel.exchange,
                routing_key=parcel.key,
                properties=parcel.properties(),
                mandatory=parcel.mandatory,
                # The confirm is waited for, not the socket: with it, one parcel at a time.
                wait=False,  # type: ignore[call-arg]  # the driver's abstract class lacks it
            )
        except (TypeError, ValueError) as error:
            raise Refused(f"AMQP cannot carry this header or key: {error}") from None

    def _usable(self) -> AbstractChannel | None:
        channel = self._channel
        if channel is None or channel.is_closed or self._generation != self._link.generation:
            return None
        return channel

    async def _open(self) -> AbstractChannel:
        async with self._opening:
            usable = self._usable()
            if usable is None:
                generation = self._link.generation
                usable = await self._link.channel(confirms=True)
                self._channel, self._generation = usable, generation
            return usable

    def _count_late(self, allowed: float, took: float) -> None:
        if took < allowed or not self._link.up.is_set():
            return
        if took > allowed + OWN_LATENESS_SECONDS:
            # Our timer was late as well: this loop is too busy to have seen the confirm.
            return
        self._late += 1
        if self._late >= LATE_IN_A_ROW:
            self._late = 0
            self._link.drop(f"{LATE_IN_A_ROW} confirms in a row stayed away")
