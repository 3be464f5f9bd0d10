"""The same three services from docker-compose.dev.yml, for those who prefer containers."""

from __future__ import annotations

import secrets
import shutil
import time

from scripts.stack import commands, ports, postgres, rabbitmq, redis
from scripts.stack.places import CHECKOUT, Place
from scripts.stack.screen import Trouble

FILE = CHECKOUT / "docker-compose.dev.yml"
# A first start downloads three images.
START_SECONDS = 900
READY_SECONDS = 180


def start(place: Place) -> dict[str, str]:
    """Bring the file up and wait for its health checks; the addresses by service."""
    told = _variables(place)
    place.remember("compose.json", told)
    commands.run(
        [*program(), "-f", FILE, "-p", f"greenroom-{place.name}", "up", "-d"],
        log=place.log / "compose.log",
        timeout_seconds=START_SECONDS,
        environment=told,
    )
    password = told["GREENROOM_COMPOSE_PASSWORD"]
    _wait(place, told, password)
    return {
        "amqp": f"amqp://greenroom:{password}@127.0.0.1:{told['GREENROOM_COMPOSE_AMQP_PORT']}/",
        "postgres": "postgresql://greenroom:"
        f"{password}@127.0.0.1:{told['GREENROOM_COMPOSE_POSTGRES_PORT']}/greenroom",
        "redis": f"redis://:{password}@127.0.0.1:{told['GREENROOM_COMPOSE_REDIS_PORT']}/0",
    }


def stop(place: Place) -> bool:
    """Stop the containers, keep their volumes; True if `start` had been used."""
    return _down(place)


def wipe(place: Place) -> None:
    if _down(place, "--volumes"):
        (place.directory / "compose.json").unlink(missing_ok=True)


def _wait(place: Place, told: dict[str, str], password: str) -> None:
    """Wait for what clients will do, not for health checks: old docker-compose has no --wait."""
    amqp, sql, cache = (
        int(told[f"GREENROOM_COMPOSE_{name}_PORT"]) for name in ("AMQP", "POSTGRES", "REDIS")
    )
    give_up = time.monotonic() + READY_SECONDS
    while not (rabbitmq.answers(amqp) and postgres.answers(sql) and redis.answers(cache, password)):
        if time.monotonic() > give_up:
            raise Trouble(
                f"the three containers did not all answer within {READY_SECONDS} s",
                log=place.log / "compose.log",
                advice=f"docker-compose -p greenroom-{place.name} logs tells why.",
            )
        time.sleep(1)


def _down(place: Place, *more: str) -> bool:
    told = place.remembered("compose.json")
    if not told:
        return False
    commands.run(
        [*program(), "-f", FILE, "-p", f"greenroom-{place.name}", "down", *more],
        log=place.log / "compose.log",
        timeout_seconds=120,
        environment=told,
    )
    return True


def _variables(place: Place) -> dict[str, str]:
    known = place.remembered("compose.json")
    return {
        "GREENROOM_COMPOSE_PASSWORD": known.get(
            "GREENROOM_COMPOSE_PASSWORD", secrets.token_urlsafe(16)
        ),
        **{
            f"GREENROOM_COMPOSE_{name.upper()}_PORT": str(ports.port_for(place, f"compose-{name}"))
            for name in ("amqp", "postgres", "redis")
        },
    }


def program() -> list[str]:
    """The compose command of this machine; `Trouble` when there is none."""
    if commands.read(["docker", "compose", "version"]) is not None:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise Trouble(
        "--compose needs docker-compose or the compose plugin of docker",
        advice="Install one of them, or leave --compose out: private services need neither.",
    )
