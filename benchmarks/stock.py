"""How many notebooks the benchmark's pool has, and what became of its leases, by Postgres."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from benchmarks import hubs
from controlplane.clients.postgres import Postgres
from controlplane.clients.postgres.driver import Driver
from controlplane.errors import Retry
from controlplane.model import NotebookPhase
from scripts.stack.demo import Demo

Point = tuple[float, float]
POLL_SECONDS = 0.25
_COUNTS = """
select jsonb_build_object('phase', phase, 'count', count(*)) from notebooks
where phase <> 'gone' group by phase
"""
_COLD = """select count(*) from leases where cold and "user" = any($1::text[])"""
_OPEN = "select to_jsonb(lease) from leases where phase <> 'ended'"
_HOLDERS = """
select jsonb_build_object('notebook', notebook, 'leases', count(*)) from (
  select key::uuid as notebook, change ->> 'lease' as lease from events
  where entity = 'notebook' and change ->> 'lease' is not null group by 1, 2) held
group by notebook having count(*) > 1
"""
_WARMED = """
select jsonb_build_object('count', count(*),
  'seconds', extract(epoch from max(ready_at) - min(created_at)))
from notebooks where created_at >= $1 and ready_at is not null
"""
# These move by themselves: a pool that has any of them is not at rest.
MOVING = (
    NotebookPhase.CREATING,
    NotebookPhase.WARMING,
    NotebookPhase.RETIRING,
    NotebookPhase.FAILED,
)


class Stock:
    """The pool as Postgres has it. Raises `Unavailable` when that does not answer.

    `well` raises `Trouble` when waiting makes no sense any more: a worker died.
    """

    def __init__(self, driver: Driver, well: Callable[[], None]) -> None:
        self._driver = driver
        self._well = well

    async def counts(self) -> dict[str, int]:
        """Notebooks by phase, those that are gone left out."""
        rows = await self._driver.rows(_COUNTS)
        return {row["phase"]: row["count"] for row in rows}

    async def ready(self) -> int:
        """Warm notebooks that can be had now."""
        return (await self.counts()).get(NotebookPhase.READY, 0)

    async def wait_ready(self, count: int, *, seconds: float) -> None:
        """Until so many are ready. `TimeoutError` says how many there were."""
        await self._until(lambda counts: counts.get(NotebookPhase.READY, 0) >= count, seconds)

    async def wait_rest(self, count: int, *, seconds: float) -> None:
        """Until so many are ready, nobody holds one, and nothing comes or goes."""

        def rests(counts: Mapping[str, int]) -> bool:
            still = not any(counts.get(phase) for phase in (*MOVING, NotebookPhase.LEASED))
            return still and counts.get(NotebookPhase.READY, 0) >= count

        await self._until(rests, seconds)

    async def cold(self, users: Sequence[str]) -> int:
        """How many leases these people had whose notebook did not exist when they asked."""
        return int(await self._driver.value(_COLD, list(users)))

    async def open_leases(self) -> list[str]:
        """Leases that have not ended."""
        return [str(lease) for lease in await self._driver.rows(_OPEN)]

    async def doubled(self) -> list[str]:
        """Notebooks that were given to more than one lease, by the journal of events."""
        return [row["notebook"] for row in await self._driver.rows(_HOLDERS)]

    async def broken(self) -> list[str]:
        """Invariants that do not hold now."""
        return [str(each) for each in await Postgres(self._driver).violations()]

    async def warmed_per_second(self, since: Any) -> float:
        """Notebooks that became ready per second, of those created since then."""
        (row,) = await self._driver.rows(_WARMED, since)
        return float(row["count"] / row["seconds"]) if row["count"] else 0.0

    async def now(self) -> Any:
        """Postgres' clock."""
        return await self._driver.value("select clock_timestamp()")

    async def _until(self, good: Any, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while not good(counts := await self.counts()):
            self._well()
            if time.monotonic() > give_up:
                raise TimeoutError(f"after {seconds:.0f} s the pool still has {counts}")
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def watching(stack: Demo) -> AsyncIterator[Stock]:
    """One connection for as long as it is looked at."""
    driver = await Driver.connect(
        stack.urls.postgres, size=1, statement_cache_size=100, timeout_seconds=10
    )
    try:
        yield Stock(driver, lambda: hubs.well(stack.place))
    finally:
        await driver.close()


@asynccontextmanager
async def followed(stock: Stock, *, every_seconds: float) -> AsyncIterator[dict[str, list[Point]]]:
    """While inside: how many are ready and how many people hold one, over time."""
    series: dict[str, list[Point]] = {"ready": [], "leased": []}
    following = asyncio.create_task(_follow(stock, series, every_seconds))
    try:
        yield series
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _follow(stock: Stock, series: dict[str, list[Point]], every_seconds: float) -> None:
    began = time.monotonic()
    while True:
        # One missing point is nothing to end a measurement for.
        with suppress(Retry):
            counts, at = await stock.counts(), round(time.monotonic() - began, 2)
            for phase, points in series.items():
                points.append((at, counts.get(phase, 0)))
        await asyncio.sleep(every_seconds)
