"""What the running services say themselves: that nothing was switched off for speed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import psycopg
import redis

from scripts.stack import rabbitmq
from scripts.stack.places import Place
from scripts.stack.services import Urls


def read_back(place: Place, urls: Urls) -> dict[str, Any]:
    """What the running services themselves say of their promises."""
    return {
        "postgres": _postgres_says(urls.postgres),
        "rabbitmq": _rabbitmq_says(place),
        "redis": _redis_says(urls.redis),
    }


def _postgres_says(url: str) -> dict[str, Any]:
    names = ["server_version", "fsync", "synchronous_commit", "full_page_writes"]
    with psycopg.connect(url, connect_timeout=10) as postgres:
        found = {}
        for name in names:
            row = postgres.execute("SELECT current_setting(%s)", (name,)).fetchone()
            found[name] = row[0] if row else None
        row = postgres.execute(
            "SELECT count(*) FILTER (WHERE tgenabled <> 'D'), count(*) FROM pg_trigger "
            "WHERE NOT tgisinternal"
        ).fetchone()
    enabled, there = row or (0, 0)
    return {**found, "triggers_enabled": f"{enabled} of {there}"}


def _rabbitmq_says(place: Place) -> dict[str, Any]:
    queues = _json(rabbitmq.control(place, "list_queues", "type", "durable"))
    channels = _json(rabbitmq.control(place, "list_channels", "confirm", "messages_unconfirmed"))
    kinds = Counter(f"{q['type']}{' durable' if q['durable'] else ''}" for q in queues)
    confirming = sum(1 for channel in channels if channel["confirm"])
    return {"queues": dict(kinds), "channels": len(channels), "channels_confirming": confirming}


def _json(told: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(told) if told else []
    return found


def _redis_says(url: str) -> dict[str, Any]:
    with redis.Redis.from_url(url, socket_timeout=10) as client:
        version = client.info("server")["redis_version"]
        settings: Any = client.config_get("appendonly")
        generation = sum(1 for _ in client.scan_iter("*generation*"))
    return {"version": version, **settings, "generation_keys": generation}


def waited(postgres_url: str) -> int:
    """Leases so far that stood in line, however shortly."""
    with psycopg.connect(postgres_url, connect_timeout=10) as postgres:
        row = postgres.execute(
            "SELECT count(DISTINCT key) FROM events WHERE entity = 'lease' AND phase = 'waiting'"
        ).fetchone()
    return int(row[0]) if row else 0
