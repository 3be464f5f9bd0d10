"""What a form tells of a pool."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.decide.expect import Shelf, expect
from controlplane.decide.lease_snapshot import Line
from controlplane.model import ContainerSpec, Pool, PoolSpec

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def shelf(*, warm: int = 0, waiting: int = 0, paused: bool = False, **numbers: Any) -> Shelf:
    spec = PoolSpec(name="lab", container=ContainerSpec(image="lab:1"), warm=1, paused=paused)
    counted = {"warming": 0, "held": 0, "leaving": 0, "nodes": 1, "free": 5, "failures": 0}
    line = Line(
        pool="lab",
        taken_at=NOW,
        waiting=(),
        ready=warm,
        paused=paused,
        **{"maximum": None, "warm_seconds": 20.0} | counted | numbers,
    )
    pool = Pool(name="lab", revision=1, spec=spec, spec_hash="", changed_at=NOW)
    return Shelf(pool=pool, line=line, warm=warm, waiting=waiting, of_groups={})


@pytest.mark.parametrize(
    ("seen", "why", "wait"),
    [
        (shelf(warm=3), "ready", 0),
        (shelf(warm=3, waiting=2), "ready", 0),
        (shelf(warm=2, waiting=2, warming=1), "warming", 20),
        (shelf(warming=2), "warming", 10),
        (shelf(warming=2, waiting=3), "warming", 40),
        (shelf(), "warming", 20),
        (shelf(warm_seconds=None), "warming", None),
        (shelf(maximum=4, held=4), "at_capacity", None),
        (shelf(free=0), "at_capacity", None),
        (shelf(nodes=0), "nothing_coming", None),
        (shelf(failures=3), "nothing_coming", None),
        (shelf(warm=3, paused=True), "nothing_coming", None),
    ],
)
def test_the_next_person_s_wait(seen: Shelf, why: str, wait: float | None) -> None:
    told = expect(seen)

    assert (told.why, told.wait_seconds) == (why, wait)


def test_the_pace_of_the_pool_tells_more_than_its_warm_ups() -> None:
    assert expect(shelf(warming=1, waiting=4), pace=0.5).wait_seconds == 10


def test_who_is_told_of_nothing_is_told_why() -> None:
    assert expect(shelf(maximum=4, held=4)).detail == "all 4 notebooks are in use"
    assert expect(shelf(paused=True)).detail == "the pool is paused"
