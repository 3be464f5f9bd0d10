"""Partitions ahead, and what is forgotten."""

from __future__ import annotations

from controlplane.clients.postgres import Postgres, fold
from controlplane.clients.postgres.driver import Driver
from controlplane.messages import NotebookGone
from controlplane.model.phases import EndReason
from tests.truth import stage
from tests.truth.conftest import TIMEOUT_SECONDS, Owner

DAYS = (
    "select count(*) from generate_series(0, 7) n where to_regclass("
    "'events_' || to_char((now() at time zone 'UTC')::date + n, 'YYYYMMDD')) is not null"
)


async def test_there_is_a_partition_for_each_of_the_next_seven_days(
    postgres: Postgres, owner: Owner
) -> None:
    await postgres.maintain(30)
    await postgres.maintain(30)

    assert owner.run(DAYS) == [(8,)]


async def test_a_day_with_events_in_the_default_partition_stays_there(
    postgres: Postgres, owner: Owner
) -> None:
    day = "(now() at time zone 'UTC')::date + 7"
    name = owner.run(f"select 'events_' || to_char({day}, 'YYYYMMDD')")[0][0]
    owner.run(f"drop table if exists {name}")
    owner.run(
        f"insert into events (day, entity, key, version, phase) values ({day}, 'node', 'n', 1, 'x')"
    )

    await postgres.maintain(30)

    assert owner.run("select to_regclass(%s)", name) == [(None,)]
    assert owner.run(f"select count(*) from events where day = {day}") == [(1,)]


async def test_events_past_the_retention_are_dropped_wherever_they_are(
    postgres: Postgres, owner: Owner
) -> None:
    owner.run(
        "create table events_20200102 partition of events "
        "for values from ('2020-01-02') to ('2020-01-03')"
    )
    for day in ("2020-01-02", "2020-01-03"):
        owner.run(
            "insert into events (day, entity, key, version, phase) "
            "values (%s, 'node', 'old', 1, 'ready')",
            day,
        )

    await postgres.maintain(30)

    assert owner.run("select to_regclass('events_20200102')") == [(None,)]
    assert owner.run("select count(*) from events") == [(0,)]


async def test_what_was_lost_with_a_node_that_never_came_back_is_gone_in_the_end(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await stage.lost(postgres)
    await postgres.notebooks.lose("node1")
    with owner.without_triggers():
        owner.run("update notebooks set phase_at = now() - interval '31 days'")

    await postgres.maintain(30)

    assert await postgres.notebooks.list() == []


async def test_what_ended_long_ago_is_forgotten_with_an_event(
    postgres: Postgres, owner: Owner, migrated_url: str
) -> None:
    await stage.house(postgres)
    old, new = await stage.warm(postgres), await stage.warm(postgres)
    granted = await postgres.leases.request(stage.ask("ada"), old)
    fresh = await postgres.leases.request(stage.ask("bob"), new)
    await postgres.leases.release(granted.lease.lease, "hub1", EndReason.STOPPED)
    await postgres.notebooks.gone(NotebookGone(**stage.at(), notebook=old))
    with owner.without_triggers():
        owner.run("update leases set phase_at = now() - interval '31 days' where phase = 'ended'")
        owner.run("update notebooks set phase_at = now() - interval '31 d' where phase = 'gone'")

    await postgres.maintain(30)

    assert await postgres.leases.get(granted.lease.lease) is None
    assert await postgres.leases.get(fresh.lease.lease) is not None
    driver = await Driver.connect(
        migrated_url, size=1, statement_cache_size=0, timeout_seconds=TIMEOUT_SECONDS
    )
    assert fold.fold(await fold.journaled(driver)) == await fold.tables(driver)
    await driver.close()
