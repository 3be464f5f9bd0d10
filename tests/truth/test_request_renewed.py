"""Somebody who comes back for their place in line."""

from __future__ import annotations

import pytest

from controlplane.clients.postgres import Postgres
from controlplane.model.phases import LeasePhase
from tests.truth import stage


async def test_who_comes_back_for_a_place_in_line_has_more_time_and_a_newer_seal(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    asked = stage.ask(budget_ms=60_000)
    first = await postgres.leases.request(asked)
    await postgres.leases.request(stage.ask("bob"))
    back = asked.model_copy(update={"budget_ms": 600_000, "sealed": "newer", "renewed": True})

    again = await postgres.leases.request(back)

    (line,) = await postgres.leases.places()
    assert (again.lease.phase, again.lease.sealed) == (LeasePhase.WAITING, "newer")
    assert again.lease.deadline > first.lease.deadline
    assert [lease.user for lease in line.waiting] == ["ada", "bob"]


@pytest.mark.parametrize(
    "changes",
    [{"budget_ms": 900_000}, {"budget_ms": 1000, "renewed": True}],
    ids=["a copy that comes later", "a comeback that comes late"],
)
async def test_another_copy_of_the_request_gives_no_other_time(
    postgres: Postgres, changes: dict[str, object]
) -> None:
    await stage.house(postgres)
    asked = stage.ask(budget_ms=600_000)
    first = await postgres.leases.request(asked)
    copy = asked.model_copy(update={"sealed": "other"} | changes)

    again = await postgres.leases.request(copy)

    assert again.lease.deadline == first.lease.deadline
    assert again.lease.sealed == asked.sealed


async def test_who_has_a_notebook_by_then_keeps_it_and_its_seal(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    asked = stage.ask(budget_ms=60_000)
    first = await postgres.leases.request(asked)

    again = await postgres.leases.request(
        asked.model_copy(update={"budget_ms": 600_000, "sealed": "newer", "renewed": True})
    )

    assert again.lease.notebook == first.lease.notebook is not None
    assert (again.lease.deadline, again.lease.sealed) == (first.lease.deadline, asked.sealed)
