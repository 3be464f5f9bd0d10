"""Many small things that come within a moment, done in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Batch(Generic[T]):
    """Collects for so many seconds and calls `flush` once; whoever added hears the outcome."""

    def __init__(self, flush: Callable[[Sequence[T]], Awaitable[None]], *, seconds: float) -> None:
        self._flush = flush
        self._seconds = seconds
        self._items: list[T] = []
        self._done: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Return when it is done. Raises what `flush` raised for the whole batch."""
        self._items.append(item)
        if self._done is None:
            self._done = asyncio.create_task(self._soon(), name="batch")
        # One caller that gives up does not take the batch with it.
        await asyncio.shield(self._done)

    async def _soon(self) -> None:
        await asyncio.sleep(self._seconds)
        items, self._items = self._items, []
        self._done = None
        await self._flush(items)
