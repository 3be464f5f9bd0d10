from __future__ import annotations

from uuid import uuid4

import pytest

from controlplane.errors import BadMessage
from controlplane.messages import Held, NodeInventory
from workers.inventories import Inventories


def part(number: int, parts: int, *, name: str = "i1", complete: bool = True) -> NodeInventory:
    return NodeInventory(
        node="a",
        epoch=1,
        seq=number,
        inventory=name,
        part=number,
        parts=parts,
        complete=complete,
        held=(Held(notebook=str(uuid4()), pool="lab", state="ready"),),
    )


def test_an_inventory_in_one_part_is_whole() -> None:
    only = part(1, 1)

    assert Inventories().add(only) == only


def test_parts_make_a_whole_in_any_order_as_old_as_the_oldest() -> None:
    inventories = Inventories()
    parts = [part(n, 3) for n in (1, 2, 3)]

    assert inventories.add(parts[2]) is None
    assert inventories.add(parts[0]) is None
    whole = inventories.add(parts[1])

    assert whole is not None
    assert whole.held == tuple(h for p in parts for h in p.held)
    assert (whole.seq, whole.parts, whole.complete) == (1, 1, True)


def test_one_part_that_is_not_complete_makes_the_whole_so() -> None:
    inventories = Inventories()
    inventories.add(part(1, 2))
    whole = inventories.add(part(2, 2, complete=False))

    assert whole is not None
    assert not whole.complete


def test_the_same_part_twice_is_one_part() -> None:
    inventories = Inventories()
    first = part(1, 2)

    assert inventories.add(first) is None
    assert inventories.add(first) is None


def test_a_handler_that_repeats_itself_gets_the_whole_again() -> None:
    inventories = Inventories()
    inventories.add(part(1, 2))
    last = part(2, 2)

    assert inventories.add(last) == inventories.add(last) is not None


def test_parts_of_two_inventories_are_not_mixed() -> None:
    inventories = Inventories()
    inventories.add(part(1, 2, name="i1"))

    assert inventories.add(part(2, 2, name="i2")) is None


@pytest.mark.parametrize(("number", "parts"), [(0, 1), (2, 1), (1, 0), (1, 101)])
def test_numbers_that_make_no_sense_are_refused(number: int, parts: int) -> None:
    with pytest.raises(BadMessage):
        Inventories().add(part(number, parts))
