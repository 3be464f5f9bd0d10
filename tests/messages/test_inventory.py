"""Of which ids an inventory says everything."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controlplane.messages import EVERY_ID, NodeInventory

LOW, HIGH = (f"{n}0000000-0000-4000-8000-000000000000" for n in (2, 9))


def inventory(**fields: object) -> NodeInventory:
    return NodeInventory.model_validate(
        {"node": "node1", "epoch": 1, "seq": 1, "inventory": "i1"} | fields
    )


def test_the_only_part_of_a_complete_one_says_everything_of_all_ids() -> None:
    assert inventory().span == EVERY_ID


def test_a_part_says_everything_of_its_own_ids() -> None:
    assert inventory(part=2, parts=3, between=(LOW, HIGH)).span == (LOW, HIGH)


@pytest.mark.parametrize(
    "fields", [{"complete": False}, {"complete": False, "between": (LOW, HIGH)}, {"parts": 2}]
)
def test_nothing_is_left_out_for_sure_where_the_engine_or_an_old_agent_did_not_say_so(
    fields: dict[str, object],
) -> None:
    assert inventory(**fields).span is None


@pytest.mark.parametrize(("part", "parts"), [(0, 2), (3, 2), (1, 0), (-1, 2)])
def test_numbers_of_parts_that_make_no_sense_are_no_inventory(part: int, parts: int) -> None:
    with pytest.raises(ValidationError):
        inventory(part=part, parts=parts)
