"""Which pool is looked at when: hints of the same pool are merged, at most ten looks a second.

One look: snapshot, plan, effects. A pool that cannot be looked at keeps no other one waiting
and is looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from time import monotonic, process_time
from uuid import uuid4

import structlog

from controlplane import failpoints, telemetry
from controlplane.apply.notebooks import Done, NotebookEffects
from controlplane.clients.postgres import Postgres
from controlplane.decide.refill import Plan, plan
from controlplane.errors import Conflict, Refused, Retry
from workers.refill import numbers

BETWEEN_LOOKS_SECONDS = 0.1
AFTER_TROUBLE_SECONDS = 1.0
# Looking at ten thousand notebooks costs what starts of people need more: a tenth of a core.
RESTS = 9
# Pools whose look failed by a bug of ours are not worth more than this.
AFTER_A_BUG_SECONDS = 30.0

log = structlog.get_logger()


class Agenda:
    """Keys that are due, each at most once in `between_seconds`; merges what comes between."""

    def __init__(self, between_seconds: float, now: Callable[[], float] = monotonic) -> None:
        self._between_seconds = between_seconds
        self._now = now
        self._due: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._changed = asyncio.Event()

    def add(self, key: str, *, in_seconds: float = 0.0) -> None:
        """Look at this key then, or earlier if it is due earlier."""
        earliest = self._last.get(key, float("-inf")) + self._between_seconds
        due = max(self._now() + in_seconds, earliest)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._changed.set()

    def take(self) -> str | None:
        """A key that is due now, longest due first."""
        key = min(self._due, key=self._due.__getitem__, default=None)
        if key is None or self._due[key] > self._now():
            return None
        del self._due[key]
        self._last[key] = self._now()
        return key

    def rest(self, key: str, seconds: float) -> None:
        """Not again before so many seconds from now, whoever asks or has asked."""
        earliest = self._now() + seconds
        self._last[key] = max(self._last.get(key, 0.0), earliest - self._between_seconds)
        if key in self._due:
            self._due[key] = max(self._due[key], earliest)

    async def wait(self) -> None:
        """Until something may be due."""
        self._changed.clear()
        soonest = min(self._due.values(), default=None)
        try:
            async with asyncio.timeout(None if soonest is None else soonest - self._now()):
                await self._changed.wait()
        except TimeoutError:
            return


class Planner:
    """Looks at the pools that somebody mentioned."""

    def __init__(self, postgres: Postgres, effects: NotebookEffects) -> None:
        self._pools = postgres.pools
        self._effects = effects
        self._agenda = Agenda(BETWEEN_LOOKS_SECONDS)
        self._held_since: dict[str, datetime] = {}
        self._why: dict[str, str] = {}

    def look_at(self, pool: str) -> None:
        """Something about this pool may have changed."""
        self._agenda.add(pool)

    async def look_at_all(self) -> None:
        """Something may have changed anywhere. Raises `Unavailable`."""
        for pool in await self._pools.list():
            self._agenda.add(pool.name)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pool = self._agenda.take()
            if pool is None:
                await self._agenda.wait()
                continue
            begun = process_time()
            again_in = await self._without_stopping(pool, self.look)
            self._agenda.rest(pool, (process_time() - begun) * RESTS)
            if again_in is not None:
                self._agenda.add(pool, in_seconds=again_in)

    async def look(self, pool: str) -> float | None:
        """Look, decide, act; seconds until this pool is to be looked at again."""
        snapshot = await self._pools.snapshot(pool)
        failpoints.reach("refill.snapshot.taken")
        made = plan(snapshot, snapshot.taken_at, held_since=self._held_since.get(pool))
        if made.held:
            self._held_since.setdefault(pool, snapshot.taken_at)
        else:
            self._held_since.pop(pool, None)
        numbers.seen(snapshot)
        done = await self._effects.apply(made, snapshot, new_id=lambda: str(uuid4()))
        self._tell(pool, made, done)
        return made.look_again_in

    async def _without_stopping(
        self, pool: str, look: Callable[[str], Awaitable[float | None]]
    ) -> float | None:
        try:
            return await look(pool)
        except Conflict:
            return 0.0
        except Retry as error:
            log.warning("refill.waits", pool=pool, error=str(error))
            return AFTER_TROUBLE_SECONDS
        except Refused as error:
            # Removed, with nothing left of it.
            log.info("refill.forgets", pool=pool, error=str(error))
            return None
        except Exception:  # one pool's trouble must not keep the others empty
            log.exception("refill.bug", pool=pool)
            telemetry.REFILL_BUGS.inc()
            return AFTER_A_BUG_SECONDS

    def _tell(self, pool: str, made: Plan, done: Done) -> None:
        numbers.done(pool, done)
        if done.created or done.retired:
            log.info(
                "refill.planned",
                pool=pool,
                created=len(done.created),
                retired=len(done.retired),
                why=made.why,
            )
        # The seconds until the next try are no news.
        news = made.why.partition(": next try")[0]
        if news != self._why.get(pool, ""):
            self._why[pool] = news
            if news:
                log.warning("refill.short", pool=pool, why=made.why)
            else:
                log.info("refill.unhindered", pool=pool)
