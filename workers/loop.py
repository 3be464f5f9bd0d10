"""Reads queues: decode, handle, settle. What a message gets, whatever happens to it:

- content that no handler can use: quarantined with the reason, acked
- delivered before and not settled: moved to `suspect`, so that whatever kills its reader
  does it there, alone
- a service is away (`Retry`): kept in hand and tried again until it goes; the lane reads
  nothing new meanwhile. Never given back: that would turn an outage into a storm
- the handler hangs: moved to `suspect`
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter

import structlog

from controlplane import failpoints, telemetry
from controlplane.clients.rabbitmq import Broker, Consumer, Delivery
from controlplane.clients.rabbitmq.faults import Backoff
from controlplane.clients.rabbitmq.topology import TRIES
from controlplane.errors import BadMessage, Conflict, Retry, Terminal, Unavailable, Unroutable
from controlplane.messages import Envelope, Message, decode

# Settling is one publish and one ack, each with its own limit below this one.
SETTLE_SECONDS = 15.0

Act = Callable[[], Awaitable[None]]
Handler = Callable[[Envelope], Awaitable[None]]

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A queue and who handles what of it. A known type without a handler is acked and counted.

    `seconds` bounds one handler call. `takes_redelivered`: handle a redelivered message here
    (an agent's commands cannot be handled elsewhere) up to three times, then quarantine it.
    `origins`: handlers by the queue that a message was first read from, for `suspect`.
    """

    queue: str
    handlers: Mapping[type[Message], Handler] = field(default_factory=dict)
    prefetch: int = 16
    seconds: float = 5
    takes_redelivered: bool = False
    origins: Mapping[str, Lane] = field(default_factory=dict)


class Reader:
    """One lane being read."""

    def __init__(self, broker: Broker, lane: Lane) -> None:
        self.lane = lane
        self._broker = broker
        self._consumer: Consumer | None = None
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._waiting = 0
        self._draining = asyncio.Event()

    async def start(self) -> Consumer:
        """Begin to read."""
        self._consumer = await self._broker.consume(
            self.lane.queue, self._receive, prefetch=self.lane.prefetch
        )
        return self._consumer

    @property
    def state(self) -> str:
        """For people: `reading`, `paused` while a service is away, or `waiting` for the broker."""
        consumer = self._consumer
        if consumer is None:
            return "waiting"
        if self._waiting and consumer.quiet.is_set():
            return "paused"
        return "reading" if consumer.consuming.is_set() else "waiting"

    async def drain(self, seconds: float) -> bool:
        """Read nothing new and let handlers in hand finish; False if some did not."""
        self._draining.set()
        try:
            async with asyncio.timeout(seconds):
                if self._consumer is not None:
                    await self._consumer.cancel()
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _receive(self, delivery: Delivery) -> None:
        self._in_hand += 1
        self._idle.clear()
        started = perf_counter()
        try:
            outcome = await self._settle(delivery)
        finally:
            self._in_hand -= 1
            if self._in_hand == 0:
                self._idle.set()
        telemetry.handled(self.lane.queue, outcome, perf_counter() - started)

    async def _settle(self, delivery: Delivery) -> str:
        """Do what the message needs; what became of it, as a label."""
        if delivery.redelivered and not self.lane.takes_redelivered:
            return await self._surely(delivery, delivery.to_suspect, "suspect")
        if delivery.tries >= TRIES:
            detail = f"it came back {delivery.tries} times: it kills or hangs its reader"
            return await self._quarantine(delivery, "repeated", detail)
        try:
            envelope = decode(delivery.body)
        except BadMessage as error:
            return await self._quarantine(delivery, error.reason, str(error))
        lane = self._lane_of(delivery)
        if lane is None:
            detail = f"nothing here handles messages of {delivery.origin}"
            return await self._quarantine(delivery, "unknown", detail)
        handler = lane.handlers.get(type(envelope.message))
        if handler is None:
            return await self._ack(delivery, "ignored")
        return await self._handle(delivery, envelope, handler)

    def _lane_of(self, delivery: Delivery) -> Lane | None:
        return self.lane.origins.get(delivery.origin) if self.lane.origins else self.lane

    async def _handle(self, delivery: Delivery, envelope: Envelope, handler: Handler) -> str:
        try:
            with structlog.contextvars.bound_contextvars(message_id=envelope.id):
                outcome = await self._until_it_goes(
                    delivery, lambda: handler(envelope), seconds=self.lane.seconds
                )
        except Late:
            log.error("handler.hung", queue=self.lane.queue, kind=envelope.message.TYPE)
            move = delivery.give_back if self.lane.takes_redelivered else delivery.to_suspect
            return await self._surely(delivery, move, "late")
        except BadMessage as error:
            return await self._quarantine(delivery, error.reason, str(error))
        except Terminal as error:
            return await self._quarantine(delivery, "refused", str(error))
        except Exception as error:  # a bug in a handler must not stop the lane
            log.exception("handler.bug", queue=self.lane.queue, kind=envelope.message.TYPE)
            return await self._quarantine(delivery, "bug", type(error).__name__)
        if outcome == "lost":
            return outcome
        failpoints.reach("message.handled", envelope.message.TYPE)
        settled = await self._surely(delivery, delivery.ack, outcome)
        failpoints.reach("message.acked", envelope.message.TYPE)
        return settled

    async def _ack(self, delivery: Delivery, outcome: str) -> str:
        try:
            # Nothing is waited for, so nothing needs a limit.
            await delivery.ack()
        except Retry:
            return await self._surely(delivery, delivery.ack, outcome)
        return outcome

    async def _quarantine(self, delivery: Delivery, reason: str, detail: str) -> str:
        return await self._surely(
            delivery, lambda: delivery.quarantine(reason, detail), "quarantined"
        )

    async def _surely(self, delivery: Delivery, act: Act, outcome: str) -> str:
        async def settle() -> None:
            try:
                await act()
            except Unroutable as error:
                await self._broker.declare()
                raise Unavailable(str(error)) from error

        try:
            went = await self._until_it_goes(delivery, settle, seconds=SETTLE_SECONDS)
            return outcome if went == "done" else "lost"
        except (Late, Terminal) as error:
            # Settling failed for good: the broker hands it out again when we disconnect.
            log.error("message.unsettled", queue=self.lane.queue, error=str(error))
            return "lost"

    async def _until_it_goes(self, delivery: Delivery, act: Act, *, seconds: float) -> str:
        """`done`, or `lost` when the broker took the message away meanwhile."""
        backoff = Backoff()
        held = False
        try:
            while True:
                try:
                    await _bounded(act, seconds)
                except Retry as error:
                    if delivery.lost or self._draining.is_set():
                        return "lost"
                    held = await self._hold(error, held=held)
                    telemetry.retried(self.lane.queue)
                    await self._wait(backoff.next())
                else:
                    return "done"
        finally:
            if held:
                await self._release()

    async def _hold(self, error: Retry, *, held: bool) -> bool:
        """Read nothing new while a service is away. A `Conflict` concerns one row only."""
        if held or isinstance(error, Conflict) or self._consumer is None:
            return held
        self._waiting += 1
        if self._waiting == 1:
            log.warning("lane.paused", queue=self.lane.queue, why=str(error))
            telemetry.LANE_PAUSED.labels(queue=telemetry.lane(self.lane.queue)).set(1)
            await self._consumer.pause()
        return True

    async def _release(self) -> None:
        self._waiting -= 1
        if self._waiting == 0 and self._consumer is not None and not self._draining.is_set():
            log.info("lane.resumed", queue=self.lane.queue)
            telemetry.LANE_PAUSED.labels(queue=telemetry.lane(self.lane.queue)).set(0)
            await self._consumer.resume()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return


class Late(Exception):
    """A handler took longer than its lane allows."""


async def _bounded(act: Act, seconds: float) -> None:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await act()
    except TimeoutError:
        # A handler may meet a TimeoutError of its own: that is a bug, not slowness.
        if not limit.expired():
            raise
        raise Late from None
