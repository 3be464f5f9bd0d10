"""Each invariant of `invariants.sql` sees what breaks it."""

from __future__ import annotations

import pytest

from controlplane.clients.postgres import Postgres
from tests.truth import stage
from tests.truth.conftest import Owner


async def test_in_an_ordinary_house_all_is_well(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await stage.serving(postgres, "ada")
    await postgres.leases.request(stage.ask("bob"))

    assert await postgres.violations() == []


@pytest.mark.parametrize(
    ("invariant", "broken"),
    [
        ("S1", "update leases set phase = 'ended', reason = 'admin'"),
        ("S1", "update notebooks set phase = 'retiring'"),
        ("D1", "update leases set phase = 'claimed', deadline = now() - interval '1 minute'"),
        ("D3", "update leases set version = version + 1"),
        ("D3", "delete from events where entity = 'node'"),
    ],
)
async def test_a_broken_row_is_seen(
    postgres: Postgres, owner: Owner, invariant: str, broken: str
) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await stage.serving(postgres)
    with owner.without_triggers():
        owner.run(broken)

    violations = await postgres.violations()

    assert invariant in {v.invariant for v in violations}
    assert all(v.key and v.detail for v in violations)


async def test_a_move_back_is_seen_in_the_journal(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)
    for version, phase in ((3, "gone"), (4, "ready")):
        owner.run(
            "insert into events (day, entity, key, version, phase) "
            "values (current_date, 'notebook', %s, %s, %s)",
            id,
            version,
            phase,
        )

    violations = await postgres.violations()

    assert ("S2", id, "moved from gone to ready") in {
        (v.invariant, v.key, v.detail) for v in violations
    }
