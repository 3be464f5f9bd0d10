"""How long to wait for others, on a loop that may be too busy to notice what they said.

A hub that starts a hundred servers at once does not look at its sockets for seconds. A plain
timeout would then take its own busyness for the silence of somebody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

SLICE_SECONDS = 0.1

T = TypeVar("T")


async def free_seconds(seconds: float) -> None:
    """Return after so many seconds in which this loop went round in time.

    A slice counts as one however late it ends: whatever came meanwhile is heard before the
    next one is over.
    """
    slices = max(1, round(seconds / SLICE_SECONDS))
    for _ in range(slices):
        await asyncio.sleep(seconds / slices)


async def within(seconds: float, wanted: Coroutine[Any, Any, T]) -> T:
    """What `wanted` returns or raises; `TimeoutError` after so many free seconds."""
    answer = asyncio.ensure_future(wanted)
    enough = asyncio.ensure_future(free_seconds(seconds))
    try:
        await asyncio.wait({answer, enough}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise TimeoutError
    finally:
        enough.cancel()
        if not answer.done():
            answer.cancel()
            await asyncio.wait({answer})
