"""What tests/conftest.py promises to every other test."""

from __future__ import annotations

import psycopg
import redis


def test_the_database_is_empty(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, connect_timeout=30) as postgres:
        found = postgres.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()

    assert found == (0,)


def test_durability_is_on(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, connect_timeout=30) as postgres:
        settings = [
            postgres.execute(f"SHOW {name}").fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        ]

    assert settings == [("on",), ("on",), ("on",)]


def test_redis_is_emptied_before_each_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=30) as mine:
        assert mine.dbsize() == 0
        mine.set("left", "over")


def test_redis_is_emptied_after_what_another_test_left(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=30) as mine:
        assert mine.get("left") is None


def test_a_test_with_an_address_is_marked(request: object, redis_url: str) -> None:
    assert request.node.get_closest_marker("services")  # type: ignore[attr-defined]
