"""Small things done together: no services needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controlplane.errors import Unavailable
from workers.lease.batch import Batch


async def test_what_comes_together_is_done_together() -> None:
    flushed: list[list[int]] = []

    async def flush(items: Sequence[int]) -> None:
        flushed.append(list(items))

    batch = Batch(flush, seconds=0.01)
    await asyncio.gather(*(batch.add(n) for n in range(5)))
    await batch.add(5)

    assert flushed == [[0, 1, 2, 3, 4], [5]]


async def test_everybody_hears_that_it_failed_and_the_next_one_is_tried() -> None:
    calls: list[int] = []

    async def flush(items: Sequence[int]) -> None:
        calls.append(len(items))
        if len(calls) == 1:
            raise Unavailable("away")

    batch = Batch(flush, seconds=0.01)
    outcomes = await asyncio.gather(*(batch.add(n) for n in range(3)), return_exceptions=True)
    await batch.add(9)

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert calls == [3, 1]


async def test_one_that_gives_up_does_not_take_the_others_with_it() -> None:
    flushed: list[int] = []
    going = asyncio.Event()

    async def flush(items: Sequence[int]) -> None:
        await going.wait()
        flushed.extend(items)

    batch = Batch(flush, seconds=0)
    first, second = asyncio.create_task(batch.add(1)), asyncio.create_task(batch.add(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    going.set()
    await second

    assert flushed == [1, 2]
