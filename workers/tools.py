"""What the workers of the control plane work with. An agent has no such tools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.rabbitmq.faults import Backoff
from controlplane.clients.redis import Index
from controlplane.errors import Retry
from controlplane.settings import Settings

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Tools:
    """One process' clients, its settings and its log."""

    broker: Broker
    postgres: Postgres
    redis: Index
    settings: Settings
    log: Any

    @classmethod
    async def open(cls, name: str, settings: Settings) -> Tools:
        """All clients, connected; waits for services that are away, for as long as it takes."""
        installation = settings.installation
        postgres = await _once_there("postgres", lambda: _postgres(settings))
        redis = await _once_there(
            "redis",
            lambda: Index.connect(settings.redis_url.get_secret_value(), installation=installation),
        )
        broker = Broker.start(
            settings.amqp_url.get_secret_value(), installation=installation, source=name
        )
        return cls(
            broker=broker,
            postgres=postgres,
            redis=redis,
            settings=settings,
            log=log.bind(worker=name),
        )

    async def close(self) -> None:
        """The broker first: what is in hand goes to another worker, and nothing new comes."""
        await self.broker.close()
        await self.redis.close()
        await self.postgres.close()


async def _postgres(settings: Settings) -> Postgres:
    return await Postgres.connect(
        settings.postgres_url.get_secret_value(),
        size=settings.postgres_connections,
        statement_cache_size=settings.postgres_statement_cache,
        warmed=True,
    )


async def _once_there(service: str, connect: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff()
    while True:
        try:
            return await connect()
        except Retry as error:
            log.warning("service.away", service=service, error=str(error))
            await asyncio.sleep(backoff.next())
