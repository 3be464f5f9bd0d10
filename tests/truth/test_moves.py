"""The trigger's tables of legal moves and the Python ones are the same, pair by pair."""

from __future__ import annotations

from enum import StrEnum

import psycopg
import pytest

from controlplane.clients.postgres import Postgres
from controlplane.model.phases import (
    LEASE_MOVES,
    NODE_MOVES,
    NOTEBOOK_MOVES,
    EndReason,
    LeasePhase,
    NodeState,
    NotebookPhase,
)
from tests.truth import stage
from tests.truth.conftest import Owner

ILLEGAL = "GR002"


def pairs(kind: type[StrEnum]) -> list[tuple[StrEnum, StrEnum]]:
    return [(was, then) for was in kind for then in kind if was is not then]


def refused(owner: Owner, statement: str, *values: object) -> bool:
    """Whether a trigger refuses this; the statement is undone in any case."""
    owner.run("begin")
    try:
        owner.run(statement, *values)
    except psycopg.Error as error:
        if error.sqlstate != ILLEGAL:
            raise
        return True
    finally:
        owner.run("rollback")
    return False


def test_postgres_has_exactly_the_moves_of_the_model(migrated_url: str, owner: Owner) -> None:
    tables = {"notebook": NOTEBOOK_MOVES, "lease": LEASE_MOVES, "node": NODE_MOVES}
    ours = {
        (entity, was.value, then.value)
        for entity, moves in tables.items()
        for was, nexts in moves.items()
        for then in nexts
    }

    theirs = set(owner.run("select entity, phase, next from moves"))

    assert theirs == ours


async def test_the_trigger_refuses_exactly_the_illegal_moves_of_nodes(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.node(postgres)
    for was, then in pairs(NodeState):
        with owner.without_triggers():
            owner.run("update nodes set state = %s", was)

        legal = not refused(owner, "update nodes set state = %s", then)

        assert legal == (then in NODE_MOVES[NodeState(was)]), (was, then)


async def test_the_trigger_refuses_exactly_the_illegal_moves_of_notebooks(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await stage.creating(postgres)
    for was, then in pairs(NotebookPhase):
        # Phases that nobody holds come without a lease, so that only the move can be refused.
        lease = stage.new_id() if NotebookPhase.LEASED in (was, then) else None
        with owner.without_triggers():
            owner.run("alter table notebooks drop constraint if exists notebooks_free")
            owner.run(
                "update notebooks set phase = %s, lease = %s, attempt = %s",
                was,
                lease,
                lease and 1,
            )

        legal = not refused(owner, "update notebooks set phase = %s", then)

        assert legal == (then in NOTEBOOK_MOVES[NotebookPhase(was)]), (was, then)


async def test_the_trigger_refuses_exactly_the_illegal_moves_of_leases(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await postgres.leases.request(stage.ask())
    columns = {
        LeasePhase.WAITING: "notebook = null, node = null, reason = null",
        LeasePhase.CLAIMED: "notebook = lease, node = 'node1', reason = null",
        LeasePhase.SERVING: "notebook = lease, node = 'node1', url = 'u', reason = null",
        LeasePhase.ENDED: "reason = 'admin'",
    }
    for was, then in pairs(LeasePhase):
        with owner.without_triggers():
            owner.run(
                f"update leases set phase = %s, attempt = 1, sealed = null, "
                f"{columns[LeasePhase(was)]}",
                was,
            )
        again = then is LeasePhase.WAITING and was is LeasePhase.CLAIMED

        legal = not refused(
            owner,
            f"update leases set phase = %s, attempt = %s, {columns[LeasePhase(then)]}",
            then,
            2 if again else 1,
        )

        assert legal == (then in LEASE_MOVES[LeasePhase(was)]), (was, then)


async def test_every_end_reason_has_its_place_in_postgres(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    for reason in EndReason:
        asked = stage.ask(f"user-{reason}")
        await postgres.leases.request(asked)

        ended = await postgres.leases.release(asked.lease, asked.hub, reason)

        assert ended is not None
        assert ended.lease.reason is reason
    with pytest.raises(psycopg.errors.CheckViolation), owner.without_triggers():
        owner.run("update leases set reason = 'boredom'")


async def test_the_lease_of_a_notebook_is_written_once(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await postgres.leases.request(stage.ask())

    assert refused(owner, "update notebooks set lease = %s", stage.new_id())
    assert refused(owner, "update notebooks set lease = null, attempt = null, phase = 'retiring'")
    assert refused(owner, "update notebooks set attempt = 2")


async def test_one_lease_holds_one_notebook_at_a_time(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    granted = await postgres.leases.request(stage.ask())
    other = await stage.warm(postgres)

    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.run(
            "update notebooks set phase = 'leased', lease = %s, attempt = 2 where notebook = %s",
            granted.lease.lease,
            other,
        )


@pytest.mark.parametrize("column", ['"user"', "hub", "server", "prefix", "pool"])
async def test_who_a_lease_is_for_is_written_once(
    postgres: Postgres, owner: Owner, column: str
) -> None:
    await stage.house(postgres)
    await postgres.leases.request(stage.ask())

    assert refused(owner, f"update leases set {column} = 'else'")


async def test_an_attempt_is_counted_only_when_the_lease_waits_again(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await postgres.leases.request(stage.ask())

    assert refused(owner, "update leases set attempt = 2")


async def test_the_seal_goes_when_the_lease_serves_whoever_moves_it(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await postgres.leases.request(stage.ask("ada"))
    await postgres.leases.request(stage.ask("bob"))

    owner.run("update leases set phase = 'serving', url = 'u' where phase = 'claimed'")
    owner.run("update leases set phase = 'ended', reason = 'admin' where phase = 'waiting'")

    assert owner.run("select sealed from leases") == [(None,), (None,)]
    assert owner.run("select count(*) from events where change::text like '%%sealed%%'") == [(0,)]


async def test_events_are_only_inserted(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)

    assert refused(owner, "update events set phase = 'x'")
    assert refused(owner, "delete from events")


async def test_what_still_lives_is_never_deleted(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await postgres.leases.request(stage.ask())

    assert refused(owner, "delete from leases")
    assert refused(owner, "delete from notebooks")


async def test_an_update_that_changes_nothing_is_no_event(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    before = owner.run("select count(*) from events")

    owner.run("update nodes set reason = reason")

    assert owner.run("select count(*) from events") == before
