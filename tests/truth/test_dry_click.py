"""A worker's first click finds every function compiled: its connections have done one before."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import sql

from controlplane.clients.postgres import Postgres
from controlplane.clients.postgres.queries import query
from tests.truth.conftest import TABLES, TIMEOUT_SECONDS, Owner

DEADLINE_SECONDS = 120
# One of each kind: called by a worker, called by that, and triggers of both tables.
ON_THE_WAY = {"lease_request", "pick", "lease_serve", "guard_lease", "notebook_implies", "journal"}


def test_a_dry_click_goes_all_the_way_and_leaves_nothing(owner: Owner) -> None:
    owner.empty()

    owner.run(query("dry_click"))

    assert {table: owner.run(f"select count(*) from {table}") for table in TABLES} == {
        table: [(0,)] for table in TABLES
    }


async def test_a_warmed_client_has_two_connections_that_have_done_a_click(
    migrated_url: str, owner: Owner
) -> None:
    with psycopg.connect(migrated_url, autocommit=True, connect_timeout=60) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set track_functions = 'pl'").format(name))

    warmed = await Postgres.connect(
        migrated_url, size=3, timeout_seconds=TIMEOUT_SECONDS, warmed=True
    )
    await warmed.close()

    # A session tells of its calls when it ends, which is not when we hang up.
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if called_twice(owner) >= ON_THE_WAY:
                return
            await asyncio.sleep(0.1)


def called_twice(owner: Owner) -> set[object]:
    found = owner.run("select funcname from pg_stat_user_functions where calls >= 2")
    return {name for (name,) in found}


async def test_without_a_schema_a_warmed_client_connects_all_the_same(migrated_url: str) -> None:
    nowhere = f"{migrated_url}?search_path=nowhere"

    client = await Postgres.connect(nowhere, size=2, timeout_seconds=TIMEOUT_SECONDS, warmed=True)

    await client.check()
    await client.close()
