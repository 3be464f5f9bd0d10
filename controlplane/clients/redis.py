"""The index of ready notebooks: a hint that saves Postgres contention, and nothing more.

Everything in it may vanish, be stale or be garbage at any moment. So no call here raises
because of Redis: a call that Redis does not answer in time says "I do not know" and is
counted, and for a second nobody asks again, so a Redis that hangs costs one request in a
second its 20 ms. The audit always asks: it is how the index comes back.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from controlplane.errors import BadSettings

POP_SECONDS = 0.02
SILENCE_SECONDS = 1.0
# Longer than any pause between two audits of a living lease worker.
KEEP_SECONDS = 120
STAMPS = 20
STAGES_SECONDS = 900
_LUA = Path(__file__).parent / "lua"

log = structlog.get_logger(__name__)


class Index:
    """Ready notebooks of every pool under `<installation>:`."""

    def __init__(self, redis: Redis, *, installation: str, timeout_seconds: float = 1.0) -> None:
        self._redis = redis
        self._prefix = f"{installation}:"
        self._timeout_seconds = timeout_seconds
        self._quiet_until = 0.0
        self._answers = True
        self.failures = 0
        self._pop = self._script("pop")
        self._add = self._script("add")
        self._audit = self._script("audit")
        self._turn = self._script("turn")

    @classmethod
    async def connect(cls, url: str, *, installation: str, timeout_seconds: float = 1.0) -> Index:
        """The index at this URL. A Redis that is not there is no error: it may come.

        Raises `BadSettings` for a URL that is none.
        """
        try:
            redis = Redis.from_url(
                url,
                protocol=2,
                socket_connect_timeout=timeout_seconds,
                # Time is limited around each call. The driver's own limit is asyncio.wait_for,
                # which before Python 3.12 now and then swallows a cancellation.
                socket_timeout=None,
                # A hidden second try would exceed our limits.
                retry=Retry(NoBackoff(), 0),
                max_connections=64,
            )
        except ValueError as error:
            raise BadSettings(f"redis_url: {error}") from None
        index = cls(redis, installation=installation, timeout_seconds=timeout_seconds)
        await index.check()
        return index

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def check(self) -> bool:
        """Does Redis answer?"""
        return await self._ask("ping", lambda: self._redis.ping(), persistent=True) is not None

    async def pop(self, pool: str) -> str | None:
        """Take the best ready notebook out; None: ask Postgres."""
        keys = [self._key("generation"), self._key(f"ready:{pool}")]
        found = await self._ask("pop", lambda: self._pop(keys=keys), seconds=POP_SECONDS)
        return found.decode() if isinstance(found, bytes) else None

    async def add(self, pool: str, notebook: str) -> bool:
        """A notebook became ready: it is offered first until the audit gives it its place."""
        keys = [self._key(f"ready:{pool}"), self._key(f"pace:{pool}")]
        args = [notebook, STAMPS, KEEP_SECONDS]
        return await self._ask("add", lambda: self._add(keys=keys, args=args)) is not None

    async def remove(self, pool: str, notebook: str) -> bool:
        """It is not to be offered any more."""
        key = self._key(f"ready:{pool}")
        return await self._ask("remove", lambda: self._redis.zrem(key, notebook)) is not None

    async def audit(self, ready: Mapping[str, Sequence[str]]) -> bool:
        """Hold exactly these notebooks, by pool, best first; False: Redis did not answer."""
        args: list[str | int] = [self._key("ready:"), KEEP_SECONDS, secrets.token_hex(8)]
        for pool, notebooks in ready.items():
            args += [pool, len(notebooks), *notebooks]
        keys = [self._key("generation"), self._key("pools")]
        done = await self._ask("audit", lambda: self._audit(keys=keys, args=args), persistent=True)
        return done is not None

    async def size(self, pool: str) -> int | None:
        """How many notebooks of a pool the index holds; None: Redis does not say."""
        found = await self._ask("size", lambda: self._redis.zcard(self._key(f"ready:{pool}")))
        return found if isinstance(found, int) else None

    async def pace(self, pool: str) -> float | None:
        """Notebooks of this pool that became ready per second of late; None: not known."""
        key = self._key(f"pace:{pool}")
        stamps = await self._ask("pace", lambda: self._redis.lrange(key, 0, STAMPS - 1))
        now = await self._ask("time", lambda: self._redis.time())
        if not stamps or now is None:
            return None
        return pace_of(stamps, now[0] + now[1] / 1e6)

    async def turn(self, name: str, seconds: float) -> bool:
        """Am I the first copy that asks in so many seconds? Yes when Redis is silent."""
        keys, args = [self._key(f"turn:{name}")], [int(seconds * 1000)]
        first = await self._ask("turn", lambda: self._turn(keys=keys, args=args))
        return bool(first is None or first == 1)

    async def note_stages(self, lease: str, stages: Mapping[str, float]) -> None:
        """Keep a lease's first stages for the copy that will see it serve."""
        value = json.dumps(dict(stages))
        key = self._key(f"stages:{lease}")
        await self._ask("note", lambda: self._redis.set(key, value, ex=STAGES_SECONDS))

    async def recall_stages(self, lease: str) -> dict[str, float]:
        """What another copy noted of this lease; empty when nothing is known."""
        key = self._key(f"stages:{lease}")
        found = await self._ask("recall", lambda: self._redis.get(key), seconds=POP_SECONDS)
        return stages_of(found) if isinstance(found, bytes) else {}

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _script(self, name: str) -> Any:
        return self._redis.register_script((_LUA / f"{name}.lua").read_text())

    async def _ask(
        self,
        what: str,
        call: Callable[[], Any],
        *,
        seconds: float | None = None,
        persistent: bool = False,
    ) -> Any:
        if not persistent and time.monotonic() < self._quiet_until:
            return None
        try:
            async with asyncio.timeout(seconds or self._timeout_seconds):
                answer = await call()
        except ResponseError as error:
            # It answers: somebody put another kind of value under our key.
            self.failures += 1
            log.warning("index.garbage", call=what, error=str(error)[:200])
            return None
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(what, error)
            return None
        if not self._answers:
            log.info("index.answers")
        self._answers, self._quiet_until = True, 0.0
        return answer

    def _failed(self, what: str, error: Exception) -> None:
        self.failures += 1
        self._quiet_until = time.monotonic() + SILENCE_SECONDS
        if self._answers:
            # Once for each silence: the metric counts the rest.
            log.warning("index.silent", call=what, error=type(error).__name__)
        self._answers = False


def pace_of(stamps: Sequence[bytes], now: float) -> float | None:
    """Stamps (seconds, newest first) per second up to now; None for fewer than three fresh."""
    fresh: list[float] = []
    for stamp in stamps:
        try:
            seconds = float(stamp)
        except ValueError:
            continue
        if 0 <= now - seconds <= KEEP_SECONDS:
            fresh.append(seconds)
    if len(fresh) < 3 or now <= min(fresh):
        return None
    return len(fresh) / (now - min(fresh))


def stages_of(raw: bytes) -> dict[str, float]:
    """Milliseconds by stage in this JSON; empty when it is something else."""
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(k): float(v) for k, v in found.items() if isinstance(v, int | float)}
