"""Postgres, RabbitMQ and Redis: versions, rights, schema."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

from controlplane.clients import redis_facts
from controlplane.clients.postgres import facts as postgres_facts
from controlplane.clients.postgres import migrate
from controlplane.clients.postgres.facts import PostgresFacts
from controlplane.clients.rabbitmq import facts as broker_facts
from controlplane.clients.rabbitmq.facts import BrokerFacts
from controlplane.clients.redis_facts import RedisFacts
from controlplane.doctor.finding import Finding, fail, ok, warn
from controlplane.settings import Settings

POSTGRES, SCHEMA, BROKER, REDIS = "postgres", "schema", "rabbitmq", "redis"
# The oldest that tests run on.
OLDEST_POSTGRES = 150_000
OLDEST_BROKER = (3, 10)
OLDEST_REDIS = (6, 2)


def judge_postgres(facts: PostgresFacts) -> list[Finding]:
    """Version, rights, and whether it keeps what it confirms."""
    seen = f"Postgres {facts.version}, {facts.user} in {facts.database}"
    if facts.read_only:
        fix = "point GREENROOM_POSTGRES_URL at the primary"
        return [fail(POSTGRES, f"{seen}: it only reads", fix=fix)]
    if not facts.may_create:
        fix = f'psql -c \'alter database "{facts.database}" owner to "{facts.user}"\''
        return [fail(POSTGRES, f"{seen}: it may not create tables", fix=fix)]
    if not facts.durable:
        fix = "alter system set fsync = on; alter system set synchronous_commit = on"
        return [warn(POSTGRES, f"{seen}: a crash may lose what was decided", fix=fix)]
    if facts.number < OLDEST_POSTGRES:
        return [warn(POSTGRES, seen, fix="upgrade to Postgres 15: no older one is tested")]
    return [ok(POSTGRES, f"{seen}, {facts.connections} connections")]


def judge_schema(schema: migrate.Status) -> Finding:
    """How far the migrations are."""
    if schema.up_to_date:
        return ok(SCHEMA, f"at {schema.current}, the newest")
    seen = f"at {schema.current or 'nothing'}, not {schema.newest}"
    return fail(SCHEMA, seen, fix="greenroom db upgrade")


def judge_broker(facts: BrokerFacts, *, installation: str, url: str) -> list[Finding]:
    """Version, rights, and what is declared."""
    seen = f"{facts.product} {facts.version}"
    parts = urlsplit(url)
    if facts.refused:
        vhost, user = parts.path.lstrip("/") or "/", parts.username or "guest"
        mine = f"'^({re.escape(installation)}[.].*|amq[.]default)$'"
        fix = f"rabbitmqctl set_permissions -p '{vhost}' '{user}' {mine} {mine} {mine}"
        return [fail(BROKER, f"{seen}: {facts.refused}", fix=fix)]
    if _numbers(facts.version) < OLDEST_BROKER:
        fix = "upgrade to RabbitMQ 3.10 or later: no older one is tested"
        return [warn(BROKER, seen, fix=fix)]
    if facts.missing:
        missing = ", ".join(facts.missing)
        return [warn(BROKER, f"{seen}; not declared: {missing}", fix="greenroom topology apply")]
    return [ok(BROKER, f"{seen}, queues declared")]


def judge_redis(facts: RedisFacts, *, installation: str) -> list[Finding]:
    """Version and rights. Redis is an index: without it starts are slower, and that is all."""
    seen = f"Redis {facts.version}"
    if facts.refused:
        fix = f"ACL SETUSER <user> ~{installation}:* +@all -@dangerous +info"
        return [warn(REDIS, f"{seen}: {facts.refused}", fix=fix)]
    if facts.version != "?" and _numbers(facts.version) < OLDEST_REDIS:
        return [warn(REDIS, seen, fix="upgrade to Redis 6.2 or later: no older one is tested")]
    return [ok(REDIS, seen)]


async def look_at_postgres(settings: Settings) -> list[Finding]:
    """The server and our login."""
    return judge_postgres(await postgres_facts.look(settings.postgres_url.get_secret_value()))


async def look_at_schema(settings: Settings) -> list[Finding]:
    """How far the schema is; a login that may not read it is told here."""
    url = settings.postgres_url.get_secret_value()
    return [judge_schema(await asyncio.to_thread(migrate.status, url))]


async def look_at_broker(settings: Settings) -> list[Finding]:
    """Declares and removes a queue and an exchange under our prefix."""
    url = settings.amqp_url.get_secret_value()
    facts = await broker_facts.look(url, installation=settings.installation)
    return judge_broker(facts, installation=settings.installation, url=url)


async def look_at_redis(settings: Settings) -> list[Finding]:
    """Writes and removes one key under our prefix."""
    url = settings.redis_url.get_secret_value()
    facts = await redis_facts.look(url, installation=settings.installation)
    return judge_redis(facts, installation=settings.installation)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
