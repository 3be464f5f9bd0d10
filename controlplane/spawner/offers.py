"""What can be had now, as the lease worker said it last: asked for when somebody looks.

Nothing is asked while nobody looks, and never more often than once in two seconds, however
many people open the form at once. Silence is an answer too: the form works without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from controlplane.messages import HubPools, KnownPool

FRESH_SECONDS = 2.0
# How long a page waits for the answer, and for how long it does not wait again after silence.
WAIT_SECONDS = 1.0
QUIET_SECONDS = 5.0
# A question that does not even end in time.
STUCK_SECONDS = 2.0
# An answer that is older says nothing of what is warm.
STALE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Every pool with its outlook, and the limits over all of them; `at` is our own clock."""

    pools: Mapping[str, KnownPool]
    at: float
    max_per_user: int | None = None
    max_per_group: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)


class Offers:
    """The last answer, and one question at a time. `now`: monotonic seconds."""

    def __init__(self, ask: Callable[[], Awaitable[None]], now: Callable[[], float]) -> None:
        self._ask = ask
        self._now = now
        self._last: Offer | None = None
        self._parts: dict[str, dict[int, HubPools]] = {}
        self._heard = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._quiet_until = float("-inf")

    async def look(self, within: float = FRESH_SECONDS) -> Offer | None:
        """What can be had now; None when nobody said so lately. Takes a second, two at most.

        Asks when the last answer is older than `within` seconds.
        """
        if self._younger_than(within) is None and self._now() >= self._quiet_until:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._question(), name="greenroom-pools")
            await asyncio.wait({self._asking}, timeout=STUCK_SECONDS)
        return self._younger_than(STALE_SECONDS)

    def hear(self, part: HubPools) -> Offer | None:
        """Take a part of an answer; the offer when it was the last one."""
        parts = self._parts.setdefault(part.snapshot, {})
        parts[part.part] = part
        if len(parts) < part.parts:
            return None
        self._parts.clear()
        self._last = Offer(
            pools={pool.pool: pool for each in parts.values() for pool in each.pools},
            at=self._now(),
            max_per_user=part.max_per_user,
            max_per_group=part.max_per_group,
            held=part.held,
        )
        self._heard.set()
        return self._last

    async def close(self) -> None:
        """Nobody waits for an answer any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _younger_than(self, seconds: float) -> Offer | None:
        if self._last is None or self._now() - self._last.at > seconds:
            return None
        return self._last

    async def _question(self) -> None:
        self._heard.clear()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._ask()
                await self._heard.wait()
        except TimeoutError:
            self._quiet_until = self._now() + QUIET_SECONDS
