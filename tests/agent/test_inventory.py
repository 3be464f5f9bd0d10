"""A long list in parts: each says everything of its span, and the spans leave no gap."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

import pytest

from controlplane.messages import EVERY_ID, Held
from workers.agent import inventory

STAMP: dict[str, str | int] = {"node": "node1", "epoch": 1, "seq": 7}


def held(count: int) -> list[Held]:
    return [Held(notebook=str(uuid4()), pool="demo", state="ready") for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, inventory.PART, inventory.PART + 1, 1000])
def test_spans_follow_each_other_from_the_first_id_to_the_last(count: int) -> None:
    here = held(count)

    parts = inventory.parts(here, STAMP, inventory="i1", complete=True)

    spans = [part.between for part in parts if part.between is not None]
    assert len(spans) == len(parts)
    assert (spans[0][0], spans[-1][1]) == EVERY_ID
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    for part, (first, last) in zip(parts, spans, strict=True):
        assert all(first <= one.notebook < last for one in part.held)
    assert sorted(o.notebook for p in parts for o in p.held) == sorted(o.notebook for o in here)


def test_all_parts_have_one_stamp_and_say_whether_the_engine_answered() -> None:
    parts = inventory.parts(held(400), STAMP, inventory="i1", complete=False)

    assert {(part.seq, part.complete, part.parts) for part in parts} == {(7, False, 3)}
