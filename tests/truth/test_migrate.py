"""The schema comes from plain SQL, once."""

from __future__ import annotations

import socket

import psycopg
import pytest

from controlplane.clients.postgres import migrate
from controlplane.clients.postgres.scripts import statements
from controlplane.errors import Terminal, Unavailable


def test_upgrading_twice_changes_nothing(postgres_url: str) -> None:
    before = migrate.status(postgres_url)
    first = migrate.upgrade(postgres_url)
    again = migrate.upgrade(postgres_url)

    assert before.current is None
    assert not before.up_to_date
    assert first.up_to_date
    assert again == first


def test_a_database_of_a_newer_greenroom_is_left_alone(postgres_url: str) -> None:
    migrate.upgrade(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True, connect_timeout=60) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
        with pytest.raises(Terminal, match="newer greenroom"):
            migrate.upgrade(postgres_url)
        connection.execute("update alembic_version set version_num = %s", ["0001"])


def test_a_database_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as nobody:
        # Bound and not listening: the port is ours, and every connection is refused.
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]

        with pytest.raises(Unavailable, match="migration stopped"):
            migrate.upgrade(f"postgresql://postgres@127.0.0.1:{port}/none")


def test_the_schema_can_be_reviewed_without_a_database() -> None:
    script = migrate.sql()

    assert "CREATE TABLE alembic_version" in script
    assert "create function lease_request" in script
    assert "'[]'" in script
    assert "\\:" not in script


def test_a_statement_ends_outside_of_quotes_only() -> None:
    script = "select 1;\ncreate function f() as $$\n  select 2;\n  select 3;\n$$;\nselect 4;\n"

    assert list(statements(script)) == [
        "select 1;",
        "create function f() as $$\n  select 2;\n  select 3;\n$$;",
        "select 4;",
    ]
