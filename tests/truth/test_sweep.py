"""What a crash left: commands that nobody answered, events that nobody published."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import ANY

import pytest

from controlplane.clients.postgres import Due, Granted, Postgres
from controlplane.messages import RunAccepted, WarmupCreated
from controlplane.model.phases import EndReason, NodeState
from tests.truth import stage
from tests.truth.conftest import Owner


def later(owner: Owner, seconds: float = 3600) -> None:
    """So much time passes for every order."""
    owner.run("update orders set next_at = next_at - make_interval(secs => %s)", seconds)


async def test_a_create_is_repeated_with_its_specification(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    id = await stage.creating(postgres)
    later(owner)

    [due] = await postgres.leases.due()

    assert isinstance(due, Due)
    assert (due.order, due.notebook.notebook, due.epoch) == ("create", id, 1)
    assert due.spec == stage.spec()
    assert due.spec_hash == stage.spec().container.hash()


async def test_a_created_notebook_is_not_ordered_again(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    id = await stage.creating(postgres)
    await postgres.notebooks.created(WarmupCreated(**stage.at(), notebook=id, container="c1"))
    later(owner)

    assert await postgres.leases.due() == []


async def test_an_activation_is_repeated_with_its_seal_until_it_serves(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    granted = await postgres.leases.request(stage.ask())
    later(owner)

    [due] = await postgres.leases.due()
    await postgres.leases.serve(stage.activated(granted))
    later(owner)

    assert isinstance(due, Granted)
    assert due.lease == granted.lease
    assert due.lease.sealed == "sealed-for-ada"
    assert due.notebook == granted.notebook
    assert await postgres.leases.due() == []


async def test_a_retirement_is_repeated_until_it_is_gone(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    granted = await postgres.leases.request(stage.ask())
    await postgres.leases.release(granted.lease.lease, "hub1", EndReason.STOPPED)
    later(owner)

    [due] = await postgres.leases.due()

    assert isinstance(due, Due)
    assert (due.order, due.notebook.notebook) == ("retire", granted.lease.notebook)


async def test_the_pause_doubles_from_one_to_thirty_seconds(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await stage.creating(postgres)
    age = "extract(epoch from next_at - n.created_at)::float from orders o join notebooks n using"
    pauses = owner.run(f"select {age} (notebook)")[0]

    for _ in range(6):
        later(owner)
        await postgres.leases.due()
        # now() of the sweep's own transaction is not ours to see: the next pause is.
        pauses += owner.run("select wait_seconds from orders")[0]

    assert pauses == (1.0, 4, 8, 16, 30, 30, 30)


async def test_an_accepted_activation_is_repeated_rarely(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    granted = await postgres.leases.request(stage.ask())
    assert granted.notebook is not None

    await postgres.leases.accepted(
        [
            RunAccepted(
                **stage.at(),
                notebook=granted.notebook.notebook,
                lease=granted.lease.lease,
                attempt=1,
            )
        ]
    )

    assert owner.run("select wait_seconds from orders") == [(30,)]
    # A report and no decision: the row and its journal stay as they were.
    assert await postgres.leases.get(granted.lease.lease) == replace(granted, now=ANY)


async def test_a_new_epoch_makes_every_order_of_its_node_due(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    await stage.creating(postgres)
    later(owner, -3600)
    assert await postgres.leases.due() == []

    await stage.node(postgres, epoch=2)
    [due] = await postgres.leases.due()

    assert due.epoch == 2


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.LOST])
async def test_orders_rest_while_their_node_is_away(
    postgres: Postgres, owner: Owner, state: NodeState
) -> None:
    await stage.house(postgres)
    await stage.creating(postgres)
    later(owner)
    await postgres.nodes.move("node1", state, "silent", 1)

    assert await postgres.leases.due() == []

    await postgres.nodes.move("node1", NodeState.READY, "back", 2)
    assert len(await postgres.leases.due()) == 1


async def test_several_sweeps_share_the_work(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    ids = {await stage.creating(postgres) for _ in range(9)}
    later(owner)

    found = await asyncio.gather(*(postgres.leases.due(limit=5) for _ in range(4)))

    ordered = [due.notebook.notebook for each in found for due in each if due.notebook]
    assert len(ordered) == len(set(ordered))
    assert set(ordered) <= ids


async def test_the_outbox_has_what_somebody_hears_until_it_is_done(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)

    taken = await postgres.outbox.take()

    assert [(m.entity, m.phase, m.version) for _, m in taken] == [
        ("pool", "applied", 1),
        ("node", "ready", 1),
        ("notebook", "ready", 2),
    ]
    last = taken[-1][1]
    assert (last.key, last.pool, last.node) == (id, "demo", "node1")
    assert last.change["url"] == "http://127.0.0.1:20000"
    await postgres.outbox.done([line for line, _ in taken])
    assert owner.run("select count(*) from outbox") == [(0,)]
    assert owner.run("select count(*) from events") == [(4,)]


async def test_what_one_took_nobody_else_gets_until_its_time_is_over(
    postgres: Postgres, owner: Owner
) -> None:
    await stage.house(postgres)
    first = await postgres.outbox.take()
    owner.run("update outbox set free_at = free_at + interval '1 hour'")
    second = await postgres.outbox.take()
    owner.run("update outbox set free_at = now()")

    third = await postgres.outbox.take()

    assert second == []
    assert third == first


async def test_a_long_change_stays_at_home(postgres: Postgres) -> None:
    environment = {f"NAME_{n}": "x" * 100 for n in range(200)}
    wide = stage.spec().model_copy(
        update={"container": stage.spec().container.model_copy(update={"environment": environment})}
    )
    await postgres.pools.apply([wide], remove_missing=False)

    [(_, moved)] = await postgres.outbox.take()

    assert moved.change == {}
    assert moved.key == "demo"
