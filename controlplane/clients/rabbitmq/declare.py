"""Makes the broker look like `topology` says. Idempotent; an existing queue is never changed."""

from __future__ import annotations

from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed
from pamqp.common import FieldTable

from controlplane.clients.rabbitmq.faults import CALL_SECONDS, translated
from controlplane.clients.rabbitmq.topology import EXCHANGES, SHARED, Queue
from controlplane.errors import Refused


async def declare_shared(channel: AbstractChannel, *, prefix: str) -> None:
    """All exchanges and every queue that is not one process' own."""
    for name in EXCHANGES:
        await _declare_exchange(channel, name, prefix=prefix)
    for queue in SHARED:
        await declare_queue(channel, queue, prefix=prefix)


async def declare_queue(channel: AbstractChannel, queue: Queue, *, prefix: str) -> AbstractQueue:
    """This queue, the exchanges it needs, and its bindings."""
    needed = {exchange for exchange, _ in queue.bindings}
    for name in sorted(needed | ({queue.dead_letters} - {""})):
        await _declare_exchange(channel, name, prefix=prefix)
    full = f"{prefix}.{queue.name}"
    async with translated(f"declare the queue {full}", CALL_SECONDS):
        try:
            declared = await channel.declare_queue(
                full,
                durable=not queue.transient,
                exclusive=queue.transient,
                auto_delete=queue.transient,
                arguments=_arguments(queue, prefix),
            )
        except ChannelPreconditionFailed as error:
            raise Refused(
                f"the queue {full} exists with other arguments ({error}): let its readers "
                f"finish, delete it with rabbitmqctl delete_queue {full}, try again"
            ) from None
    for exchange, key in queue.bindings:
        async with translated(f"bind the queue {full}", CALL_SECONDS):
            await declared.bind(f"{prefix}.{exchange}", key)
    return declared


async def _declare_exchange(channel: AbstractChannel, name: str, *, prefix: str) -> None:
    async with translated(f"declare the exchange {name}", CALL_SECONDS):
        await channel.declare_exchange(f"{prefix}.{name}", EXCHANGES[name], durable=True)


def _arguments(queue: Queue, prefix: str) -> FieldTable | None:
    if queue.transient:
        return None
    arguments: FieldTable = {
        "x-queue-type": "quorum",
        "x-delivery-limit": queue.delivery_limit,
    }
    if queue.dead_letters:
        arguments |= {
            "x-dead-letter-exchange": f"{prefix}.{queue.dead_letters}",
            # At least once needs a queue that refuses instead of dropping.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    return arguments
