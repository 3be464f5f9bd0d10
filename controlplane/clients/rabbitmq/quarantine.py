"""What people see of messages that nobody could handle, and how they send one again.

A seal never gets here: whatever looks like one is cut out of the body, in any encoding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import uuid4

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from controlplane.clients.rabbitmq.faults import CALL_SECONDS, translated
from controlplane.clients.rabbitmq.publisher import Parcel, Publisher
from controlplane.errors import Refused
from controlplane.messages.envelope import MAX_BYTES

KEPT_OF_OVERSIZED = 4 * 1024
MOST_SEARCHED = 10_000
# A Fernet token as bytes, with or without the zero bytes of UTF-16 between its letters.
_SEAL = re.compile(rb"g\x00?(?:A\x00?){4}(?:[A-Za-z0-9_=-]\x00?){20,}")


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One message in quarantine.

    `replayable` is False when something was cut out of it, so that sending it again is in vain.
    `time` is RFC 3339, empty if the broker put it there itself.
    """

    id: str
    reason: str
    detail: str
    queue: str
    type: str
    time: str
    bytes: int
    replayable: bool


def presentable(body: bytes) -> tuple[bytes, bool]:
    """The body without seals and at most as long as a message may be; True if nothing is cut."""
    kept = body if len(body) <= MAX_BYTES else body[:KEPT_OF_OVERSIZED]
    clean = _SEAL.sub(b"[seal]", kept)
    return clean, clean == body


def describe(message: AbstractIncomingMessage) -> Quarantined:
    """What the headers say of it."""
    headers = message.headers

    def text(name: str) -> str:
        return str(headers.get(f"greenroom-{name}", ""))[:1000]

    return Quarantined(
        id=message.message_id or "",
        reason=text("reason") or _broker_reason(headers.get("x-death")),
        detail=text("detail"),
        queue=text("queue"),
        type=text("type"),
        time=text("time"),
        bytes=len(message.body),
        replayable=bool(headers.get("greenroom-complete", False)) and bool(text("queue")),
    )


def _broker_reason(deaths: object) -> str:
    """Why the broker itself moved it here, from the table that it writes."""
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        return str(deaths[0].get("reason", "dead_letter"))[:100]
    return "dead_letter"


async def listed(channel: AbstractChannel, *, prefix: str, limit: int) -> list[Quarantined]:
    """The oldest; they go back where they were when the channel closes."""
    taken = await _take(channel, f"{prefix}.quarantine", limit)
    return [describe(message) for message in taken]


async def replay(
    channel: AbstractChannel, publisher: Publisher, *, prefix: str, message_id: str
) -> bool:
    """Send it to the queue it came from and take it out of quarantine; False if it is not there.

    `Refused` when something was cut out of it.
    """
    taken = await _take(channel, f"{prefix}.quarantine", MOST_SEARCHED)
    found = next((message for message in taken if message.message_id == message_id), None)
    if found is None:
        return False
    described = describe(found)
    if not described.replayable:
        raise Refused(
            f"{message_id} is not whole: a seal or its end was cut out, nobody can use it"
        )
    key = f"{prefix}.{described.queue}"
    await publisher.send(Parcel(exchange="", key=key, body=found.body, message_id=uuid4().hex))
    async with translated("take it out of quarantine", CALL_SECONDS):
        await found.ack()
    return True


async def _take(channel: AbstractChannel, queue: str, limit: int) -> list[AbstractIncomingMessage]:
    """Up to `limit` messages, unacked: closing the channel puts them back in their order."""
    taken: list[AbstractIncomingMessage] = []
    async with translated("read quarantine", CALL_SECONDS):
        source = await channel.get_queue(queue)
    while len(taken) < limit:
        async with translated("read quarantine", CALL_SECONDS):
            message = await source.get(fail=False)
        if message is None:
            break
        taken.append(message)
    return taken
