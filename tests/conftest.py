"""Fixtures that reach real things, from the addresses that `scripts/test` gives.

amqp_url        the broker; isolate with `installation`, which prefixes every exchange and queue
installation    a fresh installation name for each test
postgres_url    an empty database for each test module, dropped afterwards
redis_url       a Redis database of this session alone, emptied before each test
docker_host     a Docker engine
image           the demo notebook image on it

A test that asks for one of these is marked (`services`, `engine`) by it. Where the address is
missing, the test is skipped with a loud line on a laptop and fails in CI (`CI=true`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

AMQP = "GREENROOM_TEST_AMQP_URL"
POSTGRES = "GREENROOM_TEST_POSTGRES_URL"
REDIS = "GREENROOM_TEST_REDIS_URL"
DOCKER = "GREENROOM_TEST_DOCKER_HOST"
IMAGE = "GREENROOM_TEST_IMAGE"

MARKS = {
    "amqp_url": "services",
    "postgres_url": "services",
    "redis_url": "services",
    "docker_host": "engine",
    "image": "engine",
}
# The numbered databases that a Redis has by default; 0 holds the claims on the others.
REDIS_DATABASES = range(1, 16)
CONNECT_SECONDS = 10

_missing: set[str] = set()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by fixture, before `-m` chooses: no test of a real thing can pass for a unit test."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKS:
                item.add_marker(MARKS[fixture])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for variable in sorted(_missing):
        terminalreporter.write_line(
            f"!!! {variable} IS NOT SET: what needs it was skipped; scripts/test sets it",
            yellow=True,
            bold=True,
        )


def given(variable: str) -> str:
    """The address in this variable, or a skip on a laptop and a failure in CI."""
    value = os.environ.get(variable)
    if value:
        return value
    _missing.add(variable)
    if os.environ.get("CI"):
        pytest.fail(f"{variable} is not set, and CI skips nothing")
    pytest.skip(f"{variable} is not set; scripts/test sets it")


@pytest.fixture(scope="session")
def amqp_url() -> str:
    return given(AMQP)


@pytest.fixture
def installation() -> str:
    return f"t{secrets.token_hex(5)}"


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    import psycopg
    from psycopg import sql

    server = given(POSTGRES)
    name = f"greenroom_test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True, connect_timeout=CONNECT_SECONDS) as postgres:
        postgres.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    with psycopg.connect(server, autocommit=True, connect_timeout=CONNECT_SECONDS) as postgres:
        postgres.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def redis_database() -> Iterator[str]:
    """One numbered database, claimed for this process: sessions may share a server."""
    import redis

    server = urlsplit(given(REDIS))
    claims = redis.Redis.from_url(
        urlunsplit(server._replace(path="/0")), socket_timeout=CONNECT_SECONDS
    )
    number = next((n for n in REDIS_DATABASES if _claim(claims, n)), None)
    if number is None:
        pytest.fail("every Redis database is claimed by a test session that still runs")
    yield urlunsplit(server._replace(path=f"/{number}"))
    claims.delete(_claim_key(number))
    claims.close()


@pytest.fixture
def redis_url(redis_database: str) -> str:
    import redis

    with redis.Redis.from_url(redis_database, socket_timeout=CONNECT_SECONDS) as mine:
        mine.flushdb()
    return redis_database


@pytest.fixture(scope="session")
def docker_host() -> str:
    return given(DOCKER)


@pytest.fixture(scope="session")
def image(docker_host: str) -> str:
    return given(IMAGE)


def _claim_key(number: int) -> str:
    return f"greenroom-tests:{number}"


def _claim(claims: object, number: int) -> bool:
    """Claim a database for this process; a dead process' claim is taken over."""
    import redis

    assert isinstance(claims, redis.Redis)
    key, mine = _claim_key(number), str(os.getpid())
    if claims.set(key, mine, nx=True):
        return True
    owner = claims.get(key)
    if isinstance(owner, bytes) and Path(f"/proc/{owner.decode()}").exists():
        return False
    return claims.set(key, mine) is True
