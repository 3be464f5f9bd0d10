"""Postgres in trouble: our errors, in time, and a client that is fine afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import pytest

from controlplane.clients.postgres import Postgres
from controlplane.clients.postgres.driver import Driver
from controlplane.errors import Conflict, Terminal, Unavailable
from controlplane.model.phases import LeasePhase
from tests.truth import stage
from tests.truth.conftest import TIMEOUT_SECONDS, Owner

DEADLINE_SECONDS = 60


class Silence:
    """A way to Postgres that can fall silent: connections stay up and nothing comes through."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def begin(self) -> None:
        self._flows.clear()

    def end(self) -> None:
        self._flows.set()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()


@pytest.fixture
async def silence(migrated_url: str) -> AsyncIterator[tuple[Silence, str]]:
    parts = urlsplit(migrated_url)
    proxy = Silence(parts.hostname or "127.0.0.1", parts.port or 5432)
    port = await proxy.listen()
    user = parts.netloc.rpartition("@")[0]
    yield proxy, urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}"))
    await proxy.close()


async def until_it_works(call: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_a_silent_postgres_is_unavailable_and_fine_afterwards(
    silence: tuple[Silence, str],
) -> None:
    proxy, url = silence
    postgres = await Postgres.connect(url, size=2, timeout_seconds=10)
    proxy.begin()

    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(Unavailable, match="in time"):
            await postgres.check()

    proxy.end()
    await until_it_works(postgres.check)
    await postgres.close()


async def test_no_connection_at_all_is_unavailable() -> None:
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(Unavailable):
        await Postgres.connect(f"postgresql://postgres@127.0.0.1:{port}/x", timeout_seconds=20)

    server.close()


async def test_killed_connections_are_replaced(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    owner.run(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )

    await until_it_works(postgres.check)

    granted = await postgres.leases.request(stage.ask())
    assert granted.lease.phase is LeasePhase.WAITING


async def test_when_every_connection_is_busy_a_call_waits_no_longer_than_its_timeout(
    migrated_url: str,
) -> None:
    driver = await Driver.connect(migrated_url, size=1, statement_cache_size=100, timeout_seconds=8)

    async with asyncio.timeout(DEADLINE_SECONDS):
        results = await asyncio.gather(
            driver.value("select pg_sleep(30)"),
            driver.value("select pg_sleep(30)"),
            return_exceptions=True,
        )

    assert [type(r) for r in results] == [Unavailable, Unavailable]
    await until_it_works(lambda: driver.value("select 1"))
    await driver.close()


async def test_a_cancelled_call_leaves_a_working_client(postgres: Postgres) -> None:
    calls = [asyncio.create_task(postgres.leases.due()) for _ in range(8)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    await stage.house(postgres)

    assert [p.name for p in await postgres.pools.list()] == ["demo"]


async def test_without_a_statement_cache_everything_works(
    postgres: Postgres, migrated_url: str
) -> None:
    """As behind pgbouncer in transaction mode."""
    plain = await Postgres.connect(
        migrated_url, size=2, statement_cache_size=0, timeout_seconds=TIMEOUT_SECONDS
    )
    await stage.house(plain)
    await stage.warm(plain)

    served = await stage.serving(plain)

    assert served.lease.phase is LeasePhase.SERVING
    await plain.close()


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("23505", Conflict),
        ("40P01", Conflict),
        ("40001", Conflict),
        ("57P01", Unavailable),
        ("53300", Unavailable),
        ("53100", Unavailable),
        ("25006", Unavailable),
        ("08006", Unavailable),
        # A message in hand waits for the new password, the rights and the migration.
        ("28P01", Unavailable),
        ("28000", Unavailable),
        ("3D000", Unavailable),
        ("42501", Unavailable),
        ("42P01", Unavailable),
        ("42883", Unavailable),
        ("GR002", Terminal),
        ("22021", Terminal),
    ],
)
async def test_what_postgres_raises_becomes_ours(
    migrated_url: str, raised: str, error: type[Exception]
) -> None:
    driver = await Driver.connect(
        migrated_url, size=1, statement_cache_size=0, timeout_seconds=TIMEOUT_SECONDS
    )

    with pytest.raises(error):
        await driver.value(f"do $$ begin raise exception 'no' using errcode = '{raised}'; end $$")

    assert await driver.value("select 1") == 1
    await driver.close()


async def test_a_login_that_is_refused_is_told_at_the_start(migrated_url: str) -> None:
    parts = urlsplit(migrated_url)
    nobody = urlunsplit(parts._replace(path="/there_is_no_such_database"))

    with pytest.raises(Terminal, match="does not exist"):
        await Driver.connect(
            nobody, size=1, statement_cache_size=0, timeout_seconds=TIMEOUT_SECONDS
        )
