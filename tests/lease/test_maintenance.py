"""What keeps the journal going for months, with nobody at a command line."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from controlplane.errors import Retry
from tests.lease.conftest import House
from tests.truth.conftest import Owner
from workers.lease import work

pytestmark = pytest.mark.services

DEADLINE_SECONDS = 60
PARTITIONS = "select inhrelid::regclass::text from pg_inherits where inhparent = 'events'::regclass"


def partitions(owner: Owner) -> set[object]:
    return {name for (name,) in owner.run(PARTITIONS)}


async def test_a_worker_makes_the_partitions_of_the_next_days_by_itself(
    house: House, owner: Owner
) -> None:
    before = partitions(owner)
    furthest = max(str(name) for name in before - {"events_default"})
    owner.run(f"drop table {furthest}")

    copy = await house.worker()
    (tick,) = (tick for tick in work(copy.tools).ticks if tick.name == "maintain")

    async with asyncio.timeout(DEADLINE_SECONDS):
        while not partitions(owner) >= before:
            # It gives way to whoever uses the journal just now.
            with suppress(Retry):
                await tick.call()

    assert tick.every_seconds <= 24 * 3600
