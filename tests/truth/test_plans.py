"""A plan that was made for empty tables does not read all of them when they are full."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from controlplane.clients.postgres import Postgres
from controlplane.clients.postgres.queries import query
from tests.truth import stage
from tests.truth.conftest import Owner

MANY = 2_000
# Counted within the transaction that asks.
READ_WHOLE = """
select relname from pg_stat_xact_user_tables
where relname in ('notebooks', 'leases', 'orders', 'nodes', 'sightings') and seq_scan > 0"""
FILL = """
insert into notebooks (notebook, pool, revision, node, phase)
select gen_random_uuid(), 'demo', 1, 'node1', 'gone' from generate_series(1, %s)"""


@pytest.fixture
def session(migrated_url: str, owner: Owner) -> Iterator[psycopg.Connection]:
    """One that made its plans while there was nothing."""
    owner.empty()
    with psycopg.connect(migrated_url, autocommit=True, connect_timeout=60) as connection:
        for _ in range(7):  # by then a plan is kept
            connection.execute(query("dry_click"))
        yield connection


async def test_a_click_finds_its_rows_by_their_keys(
    session: psycopg.Connection, postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    ready = await stage.warm(postgres)
    with owner.without_triggers():
        owner.run(FILL, MANY)
    asked = stage.ask()
    lease = asked.lease
    run = {"lease": lease, "attempt": 1, "notebook": ready, "url": "http://127.0.0.1:1/"}
    gone = stage.at() | {"notebook": ready}

    with session.transaction():
        session.execute("select lease_request(%s::jsonb, %s)", (asked.model_dump_json(), ready))
        session.execute("select lease_accepted(%s::jsonb)", (json.dumps([run]),))
        session.execute("select lease_serve(%s::jsonb)", (json.dumps(run),))
        session.execute("select lease_release(%s, %s, %s)", (lease, asked.hub, "stopped"))
        session.execute("select notebook_gone(%s::jsonb)", (json.dumps(gone),))
        read_whole = session.execute(READ_WHOLE).fetchall()

    assert read_whole == []
