"""People who press Start at once, and what each of them saw."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import aiohttp

from benchmarks import machine
from scripts.stack.proof import Stopwatch, Unproven, Visit, run_code, visiting

AFTER_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One person's start: milliseconds from the click; None where it did not come."""

    user: str
    ready_ms: float | None
    result_ms: float | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Burst:
    """All people of one run on one hub; with `kernels`, everybody also ran `1+1`."""

    hub: str
    users: int
    kernels: bool
    seen: tuple[Seen, ...]
    cpu_seconds: float
    idle_cpu_seconds: float

    def ready(self) -> list[float]:
        return sorted(s.ready_ms for s in self.seen if s.ready_ms is not None)

    def results(self) -> list[float]:
        return sorted(s.result_ms for s in self.seen if s.result_ms is not None)

    def after_ready(self) -> list[float]:
        """Result minus ready, each person's own."""
        pairs = [(s.ready_ms, s.result_ms) for s in self.seen]
        return sorted(r - y for y, r in pairs if y is not None and r is not None)

    @property
    def failed(self) -> int:
        return sum(1 for s in self.seen if s.problem)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def quantile(values: list[float], share: float) -> float:
    """The nearest-rank quantile of sorted values; nan when there are none."""
    if not values:
        return float("nan")
    return values[min(len(values) - 1, int(share * len(values)))]


def middle(values: list[float]) -> float:
    return median(values) if values else float("nan")


async def burst(hub: str, url: str, token: str, users: list[str], *, run: bool) -> Burst:
    """Everybody clicks at once; with `run`, everybody also runs `1+1`. Servers keep running."""
    async with visiting(token) as session:
        visits = [Visit(session, url, user, "") for user in users]
        for visit in visits:
            await visit.make_user()
        idle = await _idle()
        before, clock = machine.busy_seconds(), Stopwatch()
        seen = await asyncio.gather(*(_one(visit, clock, run=run) for visit in visits))
        last = max((s.ready_ms or 0.0 for s in seen), default=0.0)
        await asyncio.sleep(max(0.0, AFTER_SECONDS - (clock() - last) / 1000))
        used, lasted = machine.busy_seconds() - before, clock() / 1000
    return Burst(
        hub=hub,
        users=len(users),
        kernels=run,
        seen=tuple(seen),
        cpu_seconds=used,
        idle_cpu_seconds=idle * lasted,
    )


async def leave(url: str, token: str, users: list[str]) -> None:
    """Everybody stops their server."""
    async with visiting(token) as session:
        await asyncio.gather(*(Visit(session, url, user, "").stop_server() for user in users))


async def _one(visit: Visit, clock: Stopwatch, *, run: bool) -> Seen:
    ready = result = None
    try:
        await visit.click()
        await visit.follow()
        ready = clock()
        if run:
            kernel = await visit.start_kernel()
            await run_code(visit, kernel, "1+1", clock=clock)
            result = clock()
    except (Unproven, TimeoutError, aiohttp.ClientError) as error:
        return Seen(user=visit.user, ready_ms=ready, problem=str(error)[:300] or repr(error))
    return Seen(user=visit.user, ready_ms=ready, result_ms=result)


async def _idle() -> float:
    """CPU seconds per second that the machine uses when nobody clicks."""
    before = machine.busy_seconds()
    await asyncio.sleep(AFTER_SECONDS)
    return (machine.busy_seconds() - before) / AFTER_SECONDS
