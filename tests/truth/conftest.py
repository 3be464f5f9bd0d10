"""A migrated database for each module, emptied before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from controlplane.clients.postgres import Postgres
from controlplane.clients.postgres.migrate import upgrade

# Deleting few rows is much quicker than truncating a dozen partitions.
TABLES = (
    "pools",
    "revisions",
    "lines",
    "limits",
    "nodes",
    "sightings",
    "notebooks",
    "leases",
    "tombstones",
    "hubs",
    "hub_misses",
    "orders",
    "events",
    "outbox",
)
# A machine under load is slow, and no test here is about a timeout.
TIMEOUT_SECONDS = 60.0


class Owner:
    """Plain SQL as the database's owner, past every trigger when it has to be."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        cursor = self._connection.execute(statement, values or None)  # type: ignore[arg-type]  # test SQL
        return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """No row is left, and nobody is asked."""
        with self.without_triggers():
            # One string is one transaction.
            self.run("; ".join(f"delete from {table}" for table in TABLES))

    @contextmanager
    def without_triggers(self) -> Iterator[None]:
        self.run("set session_replication_role = replica")
        try:
            yield
        finally:
            self.run("set session_replication_role = origin")

    def age(self, lease: str, seconds: float) -> None:
        """Everything that happened to this lease, and its deadline, is so much longer ago."""
        with self.without_triggers():
            for column in ("created_at", "phase_at", "deadline"):
                self.run(
                    f"update leases set {column} = {column} - make_interval(secs => %s) "
                    "where lease = %s",
                    seconds,
                    lease,
                )


@pytest.fixture(scope="module")
def migrated_url(postgres_url: str) -> str:
    upgrade(postgres_url)
    # No test here pulls the plug, and many of them at once make a slow disk slower.
    with psycopg.connect(postgres_url, autocommit=True, connect_timeout=60) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(name))
    return postgres_url


@pytest.fixture
def owner(migrated_url: str) -> Iterator[Owner]:
    with psycopg.connect(migrated_url, autocommit=True, connect_timeout=60) as connection:
        yield Owner(connection)


@pytest.fixture
async def postgres(migrated_url: str, owner: Owner) -> AsyncIterator[Postgres]:
    owner.empty()
    connected = await Postgres.connect(migrated_url, size=4, timeout_seconds=TIMEOUT_SECONDS)
    yield connected
    await connected.close()
