"""Activations take turns on a node's cores, first come first served; warm-ups come after them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

# As long as forty starts take on two cores: whoever waits for a new notebook waits no longer.
CALM_WITHIN_SECONDS = 5.0


class Turns(asyncio.Semaphore):
    """So many at once; knows when nobody has a turn or waits for one."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self._wanted = 0
        self._calm = asyncio.Event()
        self._calm.set()

    async def acquire(self) -> Literal[True]:
        """Wait for a turn."""
        self._wanted += 1
        self._calm.clear()
        try:
            return await super().acquire()
        except BaseException:
            self._left()
            raise

    def release(self) -> None:
        """The turn is the next one's."""
        super().release()
        self._left()

    async def calm(self, seconds: float = CALM_WITHIN_SECONDS) -> None:
        """Return when nobody is being activated, or after so long.

        A container's creation is work of the engine, which no CPU share of the container slows.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calm.wait()

    def _left(self) -> None:
        self._wanted -= 1
        if self._wanted == 0:
            self._calm.set()
