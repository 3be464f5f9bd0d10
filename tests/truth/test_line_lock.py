"""Claims do not wait for one another's commit, and nobody passes who stands in line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from controlplane.clients.postgres import Granted, Postgres
from controlplane.messages import LeaseRequest
from controlplane.model.phases import LeasePhase
from tests.truth import stage
from tests.truth.conftest import Owner

# Of this database: others have their own.
KEPT_WAITING = """
select count(*) from pg_locks where not granted and locktype = 'advisory'
  and database = (select oid from pg_database where datname = current_database())"""


class Open:
    """A transaction that asked and has not committed."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def ask(self, asked: LeaseRequest, candidate: str | None = None) -> None:
        self._connection.execute(
            "select lease_request(%s::jsonb, %s, %s)",
            (asked.model_dump_json(), candidate, candidate is None),
        )

    def commit(self) -> None:
        self._connection.commit()

    def undo(self) -> None:
        self._connection.rollback()


@pytest.fixture
def somebody(migrated_url: str) -> Iterator[Open]:
    with psycopg.connect(migrated_url, connect_timeout=60) as connection:
        yield Open(connection)


@asynccontextmanager
async def waiting_for_the_line(
    owner: Owner, *calls: Awaitable[object]
) -> AsyncIterator[list[asyncio.Future[object]]]:
    """These calls under way, each kept waiting by a lock of somebody else."""
    tasks: list[asyncio.Future[object]] = []
    for call in calls:
        tasks.append(asyncio.ensure_future(call))
        async with asyncio.timeout(60):
            # Postgres tells nobody that somebody began to wait.
            while owner.run(KEPT_WAITING)[0][0] != len(tasks):
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.02)
    yield tasks
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_claim_does_not_wait_for_the_commit_of_another(
    postgres: Postgres, somebody: Open
) -> None:
    await stage.house(postgres)
    first, second = await stage.warm(postgres), await stage.warm(postgres)
    somebody.ask(stage.ask("ada"), first)

    bobs = await postgres.leases.request(stage.ask("bob"), second)

    somebody.commit()
    assert bobs.lease.notebook == second
    assert await postgres.violations() == []


async def test_whoever_enters_the_line_waits_for_claims_under_way(
    postgres: Postgres, owner: Owner, somebody: Open
) -> None:
    await stage.house(postgres)
    only = await stage.warm(postgres)
    somebody.ask(stage.ask("ada"), only)

    async with waiting_for_the_line(owner, postgres.leases.request(stage.ask("bob"))) as (bobs,):
        somebody.undo()

    granted = await bobs
    assert isinstance(granted, Granted)
    assert granted.lease.notebook == only


async def test_a_claim_does_not_pass_whoever_is_just_entering_the_line(
    postgres: Postgres, owner: Owner, somebody: Open
) -> None:
    await stage.house(postgres)
    adas = stage.ask("ada")
    somebody.ask(adas)
    ready = await stage.warm(postgres)

    claim = postgres.leases.request(stage.ask("bob"), ready)
    async with waiting_for_the_line(owner, claim) as (bobs,):
        somebody.commit()

    granted = await bobs
    assert isinstance(granted, Granted)
    assert granted.lease.phase is LeasePhase.WAITING
    assert [m.lease.lease for m in await postgres.leases.match("demo")] == [adas.lease]


async def test_newcomers_do_not_keep_the_line_shut(
    postgres: Postgres, owner: Owner, somebody: Open
) -> None:
    """Locks that are shared let newcomers in before whoever waits; this one does not."""
    await stage.house(postgres)
    first, second = await stage.warm(postgres), await stage.warm(postgres)
    somebody.ask(stage.ask("ada"), first)

    calls = (postgres.leases.match("demo"), postgres.leases.request(stage.ask("bob"), second))
    async with waiting_for_the_line(owner, *calls) as (matched, bobs):
        somebody.commit()

    granted = await bobs
    assert isinstance(granted, Granted)
    assert await matched == []
    assert granted.lease.notebook == second


async def test_a_lease_that_was_claimed_goes_before_those_who_came_after_it(
    postgres: Postgres,
) -> None:
    """A claim takes a place as well, for the day on which its attempt fails."""
    await stage.house(postgres)
    claimed = await postgres.leases.request(stage.ask("ada"), await stage.warm(postgres))
    later = await postgres.leases.request(stage.ask("bob"))
    assert claimed.notebook is not None

    await postgres.leases.attempt_failed(
        claimed.lease.lease, 1, claimed.notebook.notebook, reason="x", detail="", terminal=False
    )
    ready = [await stage.warm(postgres) for _ in range(2)]
    matched = await postgres.leases.match("demo")

    assert [m.lease.lease for m in matched] == [claimed.lease.lease, later.lease.lease]
    assert {m.lease.notebook for m in matched} == set(ready)


async def test_two_requests_for_one_server_at_once_leave_one_open(postgres: Postgres) -> None:
    await stage.house(postgres)
    for _ in range(4):
        await stage.warm(postgres)

    granted = await asyncio.gather(*(postgres.leases.request(stage.ask("ada")) for _ in range(4)))

    assert sum(len(g.ended) for g in granted) == 3
    assert len(await postgres.leases.list()) == 1
    assert await postgres.violations() == []
