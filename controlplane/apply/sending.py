"""One message that a row implies, and how a handful of them is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from controlplane.clients.rabbitmq import Broker, Route
from controlplane.errors import BadMessage, Unroutable
from controlplane.messages import Message

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Sending:
    """A message, where it goes and for how long it means anything."""

    body: Message
    route: Route
    expires_ms: int | None = None
    traceparent: str = ""


async def send(broker: Broker, sendings: Sequence[Sending]) -> None:
    """All at once; returns when the broker has them.

    Raises `Unavailable` when it does not confirm: do the whole move again, it is idempotent.
    A message that no queue takes (an agent that never connected) is logged: the row stays as
    it is, and the sweep repeats what it implies. So is one that no message can carry: it would
    keep those behind it from being sent, and its row ends by its own deadline.
    """
    if len(sendings) == 1:
        return await _send(broker, sendings[0])
    outcomes = await asyncio.gather(
        *(_send(broker, sending) for sending in sendings), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _send(broker: Broker, sending: Sending) -> None:
    try:
        await broker.publish(
            sending.body,
            sending.route,
            expires_ms=sending.expires_ms,
            traceparent=sending.traceparent,
        )
    except Unroutable as error:
        log.warning("command.unroutable", kind=sending.body.TYPE, error=str(error))
    except BadMessage as error:
        log.error("message.impossible", kind=sending.body.TYPE, error=str(error))
