"""Inventories in parts, and small things done together: no services needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from controlplane.errors import BadMessage, Unavailable
from controlplane.messages import Held, NodeInventory
from workers.lease.batch import Batch
from workers.lease.inventories import UNFINISHED, Parts


def part(
    number: int, of: int, *, inventory: str = "i1", seq: int = 1, complete: bool = True
) -> NodeInventory:
    held = Held(notebook=f"00000000-0000-7000-8000-{number:012x}", pool="demo", state="ready")
    return NodeInventory(
        node="node1",
        epoch=1,
        seq=seq,
        inventory=inventory,
        part=number,
        parts=of,
        complete=complete,
        held=(held,),
    )


def held(whole: NodeInventory | None) -> list[int]:
    assert whole is not None
    return [int(each.notebook[-4:], 16) for each in whole.held]


def test_one_part_is_whole() -> None:
    assert held(Parts().add(part(1, 1))) == [1]


@pytest.mark.parametrize("order", [[1, 2, 3], [3, 1, 2], [2, 2, 3, 1]])
def test_parts_in_any_order_and_twice_make_one_whole(order: list[int]) -> None:
    parts = Parts()

    wholes = [whole for n in order if (whole := parts.add(part(n, 3))) is not None]

    assert [held(whole) for whole in wholes] == [[1, 2, 3]]
    assert (wholes[0].part, wholes[0].parts) == (1, 1)


def test_parts_of_different_inventories_are_not_mixed() -> None:
    parts = Parts()

    found = [parts.add(part(1, 2)), parts.add(part(2, 2, inventory="i2"))]

    assert found == [None, None]


def test_the_oldest_part_speaks_for_all_and_one_incomplete_makes_all_incomplete() -> None:
    parts = Parts()
    parts.add(part(2, 2, seq=5, complete=False))

    whole = parts.add(part(1, 2, seq=9))

    assert whole is not None
    assert (whole.seq, whole.complete) == (5, False)


def test_a_whole_stays_until_it_was_handled() -> None:
    parts = Parts()
    parts.add(part(1, 2))
    first = parts.add(part(2, 2))

    again = parts.add(part(2, 2))
    parts.forget(part(2, 2))

    assert held(first) == held(again) == [1, 2]
    assert parts.add(part(2, 2)) is None


@pytest.mark.parametrize(("number", "of"), [(0, 2), (3, 2), (1, 0), (1, 101), (-1, 2)])
def test_numbers_that_make_no_sense_are_bad_messages(number: int, of: int) -> None:
    with pytest.raises(BadMessage):
        Parts().add(part(1, 1).model_copy(update={"part": number, "parts": of}))


def test_what_never_becomes_whole_does_not_pile_up() -> None:
    parts = Parts()
    for n in range(UNFINISHED + 50):
        parts.add(part(1, 2, inventory=f"i{n}"))

    assert len(parts._unfinished) == UNFINISHED


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
