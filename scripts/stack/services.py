"""RabbitMQ, Redis and Postgres for one stack, as addresses.

An address that is given (`GREENROOM_AMQP_URL`, `GREENROOM_POSTGRES_URL`,
`GREENROOM_REDIS_URL`) is used as it is; what is not given is started here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.stack import compose, postgres, processes, rabbitmq, redis
from scripts.stack.places import Place

# Stopped in this order: what writes before what it writes to, the port mapper last.
PRIVATE = (rabbitmq.NAME, rabbitmq.MAPPER, redis.NAME, postgres.NAME)


@dataclass(frozen=True, kw_only=True)
class Urls:
    """Where the three services are. Each holds a password: never print one."""

    amqp: str = field(repr=False)
    postgres: str = field(repr=False)
    redis: str = field(repr=False)

    def environment(self, prefix: str = "GREENROOM_") -> dict[str, str]:
        """As the variables that settings (or tests, with their prefix) read."""
        return {
            f"{prefix}AMQP_URL": self.amqp,
            f"{prefix}POSTGRES_URL": self.postgres,
            f"{prefix}REDIS_URL": self.redis,
        }


def given(prefix: str = "GREENROOM_") -> dict[str, str]:
    """The addresses that the environment gives, by service."""
    names = {"amqp": "AMQP_URL", "postgres": "POSTGRES_URL", "redis": "REDIS_URL"}
    found = {name: os.environ.get(prefix + variable, "") for name, variable in names.items()}
    return {name: url for name, url in found.items() if url}


def start(directory: Path, *, use: Mapping[str, str] | None = None, composed: bool = False) -> Urls:
    """Start what `use` does not give; again on the same directory changes nothing."""
    place = Place(directory=directory).make()
    urls = dict(use or {})
    if composed:
        urls = {**compose.start(place), **urls}
    if "redis" not in urls:
        urls["redis"] = redis.start(place)
    if "postgres" not in urls:
        urls["postgres"] = postgres.start(place)
    if "amqp" not in urls:
        urls["amqp"] = rabbitmq.start(place)
    return Urls(amqp=urls["amqp"], postgres=urls["postgres"], redis=urls["redis"])


def stop(directory: Path) -> list[str]:
    """Stop what `start` started there; returns the names of what was running."""
    place = Place(directory=directory)
    stopped = [name for name in PRIVATE if processes.stop(place, name)]
    if compose.stop(place):
        stopped.append("compose")
    return stopped


def wipe(directory: Path) -> None:
    """Remove the data of stopped services."""
    place = Place(directory=directory)
    postgres.wipe(place)
    compose.wipe(place)
    for name in ("redis", "rabbitmq"):
        shutil.rmtree(place.directory / name, ignore_errors=True)
        (place.directory / f"{name}.json").unlink(missing_ok=True)
