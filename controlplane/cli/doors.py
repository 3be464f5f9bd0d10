"""One command's connections: opened, used, closed, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.redis import Index
from controlplane.settings import Settings, load

T = TypeVar("T")
# People wait longer than workers do, and their commands are rare.
POSTGRES_SECONDS = 10.0


def with_postgres(call: Callable[[Postgres], Awaitable[T]]) -> T:
    """Run this with Postgres."""
    return asyncio.run(_with_postgres(load(), call))


def with_broker(call: Callable[[Broker], Awaitable[T]]) -> T:
    """Run this with RabbitMQ."""
    return asyncio.run(_with_broker(load(), call))


async def _with_postgres(settings: Settings, call: Callable[[Postgres], Awaitable[T]]) -> T:
    postgres = await open_postgres(settings)
    try:
        return await call(postgres)
    finally:
        await postgres.close()


async def _with_broker(settings: Settings, call: Callable[[Broker], Awaitable[T]]) -> T:
    broker = await open_broker(settings)
    try:
        return await call(broker)
    finally:
        await broker.close()


async def open_postgres(settings: Settings) -> Postgres:
    """Connected; raises `Unavailable`. Closing is the caller's."""
    return await Postgres.connect(
        settings.postgres_url.get_secret_value(),
        size=1,
        statement_cache_size=settings.postgres_statement_cache,
        timeout_seconds=POSTGRES_SECONDS,
    )


async def open_broker(settings: Settings) -> Broker:
    """Connected; raises `Unavailable`. Closing is the caller's."""
    return await Broker.connect(
        settings.amqp_url.get_secret_value(), installation=settings.installation, source="cli"
    )


async def open_index(settings: Settings) -> Index:
    """Not connected before it is used. Closing is the caller's."""
    return await Index.connect(
        settings.redis_url.get_secret_value(), installation=settings.installation
    )
