from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.clients.postgres.facts import PostgresFacts
from controlplane.clients.postgres.migrate import Status
from controlplane.clients.rabbitmq.facts import BrokerFacts
from controlplane.clients.redis_facts import RedisFacts
from controlplane.doctor import services
from controlplane.doctor.finding import Level

POSTGRES = PostgresFacts(
    version="15.8",
    number=150_008,
    user="greenroom",
    database="warm",
    may_create=True,
    read_only=False,
    durable=True,
    connections=100,
)
BROKER = BrokerFacts(product="RabbitMQ", version="3.10.8", refused="", missing=())
URL = "amqp://ann:secret@broker.example:5672/rooms"


@pytest.mark.parametrize(
    ("change", "level", "fix"),
    [
        ({}, Level.OK, ""),
        ({"read_only": True}, Level.FAIL, "primary"),
        ({"may_create": False}, Level.FAIL, 'alter database "warm" owner to "greenroom"'),
        ({"durable": False}, Level.WARN, "synchronous_commit"),
        ({"number": 140_010}, Level.WARN, "Postgres 15"),
    ],
)
def test_postgres_is_judged(change: dict[str, object], level: Level, fix: str) -> None:
    (found,) = services.judge_postgres(replace(POSTGRES, **change))

    assert found.level is level
    assert fix in found.fix


@pytest.mark.parametrize(
    ("current", "level", "fix"),
    [
        ("0001", Level.OK, ""),
        (None, Level.FAIL, "greenroom db upgrade"),
        ("0000", Level.FAIL, "greenroom db upgrade"),
    ],
)
def test_a_schema_is_judged(current: str | None, level: Level, fix: str) -> None:
    found = services.judge_schema(Status(current=current, newest="0001"))

    assert (found.level, found.fix) == (level, fix)


@pytest.mark.parametrize(
    ("change", "level", "fix"),
    [
        ({}, Level.OK, ""),
        ({"refused": "ACCESS_REFUSED"}, Level.FAIL, "rabbitmqctl set_permissions -p 'rooms' 'ann'"),
        ({"version": "3.8.9"}, Level.WARN, "3.10"),
        ({"missing": ("refill",)}, Level.WARN, "greenroom topology apply"),
    ],
)
def test_a_broker_is_judged(change: dict[str, object], level: Level, fix: str) -> None:
    (found,) = services.judge_broker(replace(BROKER, **change), installation="warm", url=URL)

    assert found.level is level
    assert fix in found.fix


def test_a_broker_s_password_is_never_shown() -> None:
    refused = replace(BROKER, refused="ACCESS_REFUSED")

    (found,) = services.judge_broker(refused, installation="warm", url=URL)

    assert "secret" not in found.seen + found.fix


@pytest.mark.parametrize(
    ("version", "refused", "level"),
    [
        ("7.0.15", "", Level.OK),
        ("?", "", Level.OK),
        ("5.0.14", "", Level.WARN),
        ("7.0.15", "NOPERM", Level.WARN),
    ],
)
def test_redis_never_fails_as_it_is_an_index(version: str, refused: str, level: Level) -> None:
    facts = RedisFacts(version=version, refused=refused)

    (found,) = services.judge_redis(facts, installation="warm")

    assert found.level is level
