"""What `greenroom doctor` wants to know of a broker: its version, and what our login may do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection

from controlplane.clients.rabbitmq.faults import CALL_SECONDS, CONNECT_SECONDS, translated
from controlplane.clients.rabbitmq.link import close_channel
from controlplane.clients.rabbitmq.topology import SHARED
from controlplane.errors import GreenroomError, Unroutable

PROBE_EXPIRES_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class BrokerFacts:
    """`refused`: what our login may not do, or "". `missing`: shared queues not declared yet."""

    product: str
    version: str
    refused: str
    missing: tuple[str, ...]


async def look(url: str, *, installation: str) -> BrokerFacts:
    """Connect, declare and remove a queue and an exchange of our own. `Unavailable`."""
    async with translated("connect to the broker", CONNECT_SECONDS + 1):
        connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
    try:
        said: Any = getattr(getattr(connection, "transport", None), "connection", None)
        properties = getattr(said, "server_properties", {}) or {}
        return BrokerFacts(
            product=_text(properties.get("product", "?")),
            version=_text(properties.get("version", "?")),
            refused=await _refused(connection, installation),
            missing=await _missing(connection, installation),
        )
    finally:
        async with translated("close the connection", CALL_SECONDS):
            await connection.close()


async def _refused(connection: AbstractConnection, installation: str) -> str:
    name = f"{installation}.doctor.{secrets.token_hex(4)}"
    channel = connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        async with translated("declare, bind, publish and read", 2 * CALL_SECONDS):
            await channel.initialize(timeout=CALL_SECONDS)
            # It goes by itself should we be killed.
            arguments: Any = {"x-queue-type": "quorum", "x-expires": PROBE_EXPIRES_MS}
            queue = await channel.declare_queue(name, durable=True, arguments=arguments)
            exchange = await channel.declare_exchange(name, "topic", auto_delete=True)
            await queue.bind(exchange, "#")
            await exchange.publish(aio_pika.Message(b"doctor"), "doctor", timeout=CALL_SECONDS)
            # Answers to hubs go through the default exchange.
            to_queue = aio_pika.Message(b"doctor")
            await channel.default_exchange.publish(to_queue, name, timeout=CALL_SECONDS)
            await queue.purge()
            await queue.delete(if_unused=False, if_empty=False)
    except GreenroomError as error:
        return str(error)
    finally:
        await close_channel(channel)
    return ""


async def _missing(connection: AbstractConnection, installation: str) -> tuple[str, ...]:
    missing = []
    for queue in SHARED:
        # A queue that is not there costs its channel.
        channel = connection.channel()
        try:
            async with translated(f"look for {queue.name}", CALL_SECONDS):
                await channel.initialize(timeout=CALL_SECONDS)
                await channel.declare_queue(f"{installation}.{queue.name}", passive=True)
        except Unroutable:
            missing.append(queue.name)
        finally:
            await close_channel(channel)
    return tuple(missing)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
