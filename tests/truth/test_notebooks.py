"""Notebooks that nobody holds: what reports and inventories make of them."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.clients.postgres import Postgres
from controlplane.errors import Conflict
from controlplane.messages import (
    Held,
    NodeInventory,
    NotebookGone,
    WarmupCreated,
    WarmupFailed,
)
from controlplane.model.phases import LeasePhase, NotebookPhase
from tests.truth import stage


def created(notebook: str, node: str = "node1") -> WarmupCreated:
    return WarmupCreated(**stage.at(node), notebook=notebook, container="c1")


def failed(notebook: str) -> WarmupFailed:
    return WarmupFailed(
        **stage.at(), notebook=notebook, reason="exited", detail="boom", exit_code=3
    )


def gone(notebook: str) -> NotebookGone:
    return NotebookGone(**stage.at(), notebook=notebook)


def holds(*held: Held, complete: bool = True, **changes: Any) -> NodeInventory:
    fields = stage.at() | {"inventory": "i", "complete": complete, "held": held}
    return NodeInventory(**fields | changes)


def held(notebook: str, state: str, **more: Any) -> Held:
    return Held(notebook=notebook, pool="demo", state=state, **more)


async def phase(postgres: Postgres, id: str) -> NotebookPhase:
    row = await stage.notebook(postgres, id)
    return row.phase if row else NotebookPhase.GONE


async def test_a_notebook_goes_from_creating_to_gone(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.creating(postgres)

    phases = []
    for move in (
        postgres.notebooks.created(created(id)),
        postgres.notebooks.ready(stage.ready_report(id)),
        postgres.notebooks.failed(failed(id)),
    ):
        row = await move
        phases.append(row and row.phase)
    [retired] = await postgres.notebooks.retire([id], "failed")
    last = await postgres.notebooks.gone(gone(id))

    assert phases == [NotebookPhase.WARMING, NotebookPhase.READY, NotebookPhase.FAILED]
    assert retired.phase is NotebookPhase.RETIRING
    assert last is not None
    assert last.phase is NotebookPhase.GONE
    assert last.reason == "exited"


async def test_creates_with_an_old_stamp_write_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    stamp = (await postgres.pools.snapshot("demo")).stamp
    await stage.creating(postgres)

    with pytest.raises(Conflict):
        await postgres.notebooks.create("demo", 1, {stage.new_id(): "node1"}, stamp=stamp)

    assert (await postgres.notebooks.counts())["demo"] == {"creating": 1}


async def test_the_same_report_twice_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.creating(postgres)
    report = stage.ready_report(id)
    first = await postgres.notebooks.ready(report)

    assert await postgres.notebooks.ready(report) is None

    assert await stage.notebook(postgres, id) == first


async def test_an_older_report_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.creating(postgres)
    older = failed(id)
    await postgres.notebooks.created(created(id))

    assert await postgres.notebooks.failed(older) is None

    assert await phase(postgres, id) is NotebookPhase.WARMING


async def test_a_report_of_an_older_epoch_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)
    older = failed(id).model_copy(update={"epoch": 0})

    assert await postgres.notebooks.failed(older) is None
    assert await phase(postgres, id) is NotebookPhase.READY


async def test_a_report_of_another_node_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres, "node1", "node2")
    id = await stage.creating(postgres, "node1")

    assert await postgres.notebooks.ready(stage.ready_report(id, "node2")) is None
    assert await phase(postgres, id) is NotebookPhase.CREATING


async def test_a_report_of_an_unknown_notebook_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)

    assert await postgres.notebooks.ready(stage.ready_report(stage.new_id())) is None
    assert await postgres.notebooks.gone(gone(stage.new_id())) is None


async def test_ready_again_after_retiring_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)
    await postgres.notebooks.retire([id], "surplus")

    assert await postgres.notebooks.ready(stage.ready_report(id)) is None
    assert await phase(postgres, id) is NotebookPhase.RETIRING


async def test_a_leased_notebook_is_never_retired_failed_or_gone_from_here(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)
    granted = await postgres.leases.request(stage.ask())

    assert await postgres.notebooks.retire([id], "surplus") == []
    assert await postgres.notebooks.failed(failed(id)) is None
    assert await postgres.notebooks.gone(gone(id)) is None
    await stage.lost(postgres)
    assert await postgres.notebooks.lose("node1") == []
    assert await postgres.notebooks.inventory(holds()) == []
    assert await stage.notebook(postgres, id) == granted.notebook


async def test_retire_moves_only_what_is_still_there(postgres: Postgres) -> None:
    await stage.house(postgres)
    ready, going = await stage.warm(postgres), await stage.warm(postgres)
    await postgres.notebooks.retire([going], "old")

    retired = await postgres.notebooks.retire([ready, going, stage.new_id()], "surplus")

    assert [r.notebook for r in retired] == [ready]
    assert retired[0].reason == "surplus"


async def test_an_inventory_heals_reports_that_were_lost(postgres: Postgres) -> None:
    await stage.house(postgres)
    warming, ready, dead = [await stage.creating(postgres) for _ in range(3)]

    moved = await postgres.notebooks.inventory(
        holds(
            held(warming, "warming"),
            held(ready, "ready", url="http://127.0.0.1:20001"),
            held(dead, "exited"),
        )
    )

    assert {m.notebook: m.phase for m in moved} == {
        warming: NotebookPhase.WARMING,
        ready: NotebookPhase.READY,
        dead: NotebookPhase.FAILED,
    }


async def test_absent_from_a_complete_inventory_is_gone(postgres: Postgres) -> None:
    await stage.house(postgres)
    ready, retiring = await stage.warm(postgres), await stage.warm(postgres)
    await postgres.notebooks.retire([retiring], "surplus")

    moved = await postgres.notebooks.inventory(holds())

    assert {m.notebook for m in moved} == {ready, retiring}
    assert {m.phase for m in moved} == {NotebookPhase.GONE}
    assert {m.reason for m in moved} == {"vanished", "surplus"}


async def test_absent_from_an_incomplete_inventory_means_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)

    assert await postgres.notebooks.inventory(holds(complete=False)) == []
    assert await phase(postgres, id) is NotebookPhase.READY


async def test_a_creating_notebook_may_be_on_its_way(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.creating(postgres)

    assert await postgres.notebooks.inventory(holds()) == []
    assert await phase(postgres, id) is NotebookPhase.CREATING


async def test_an_inventory_from_before_the_notebook_was_ready_changes_nothing(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    before = holds()
    id = await stage.warm(postgres)

    assert await postgres.notebooks.inventory(before) == []
    assert await phase(postgres, id) is NotebookPhase.READY


async def test_an_inventory_older_than_the_last_one_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.creating(postgres)
    older = holds(held(id, "warming"))
    await postgres.notebooks.inventory(holds())

    assert await postgres.notebooks.inventory(older) == []
    assert await phase(postgres, id) is NotebookPhase.CREATING


async def test_what_was_lost_and_came_back_is_retired(postgres: Postgres) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)
    await stage.lost(postgres)
    [lost] = await postgres.notebooks.lose("node1")

    [moved] = await postgres.notebooks.inventory(holds(held(id, "ready")))

    assert lost.phase is NotebookPhase.LOST
    assert moved.phase is NotebookPhase.RETIRING
    assert moved.reason == "came_back"


async def test_news_of_a_lost_node_that_came_back_meanwhile_loses_nothing(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await stage.warm(postgres)
    await stage.serving(postgres)

    # An event is a hint, and may come late or twice.
    assert await postgres.notebooks.lose("node1") == []
    assert await postgres.leases.node_lost("node1") == []


async def test_strangers_are_what_no_row_of_this_node_knows(postgres: Postgres) -> None:
    await stage.house(postgres, "node1", "node2")
    mine, elsewhere = await stage.warm(postgres), await stage.warm(postgres, "node2")
    finished = await stage.warm(postgres)
    await postgres.notebooks.gone(gone(finished))
    unknown = stage.new_id()

    found = await postgres.notebooks.strangers(
        holds(*(held(id, "ready") for id in (mine, elsewhere, finished, unknown)))
    )

    assert set(found) == {elsewhere, finished, unknown}


async def test_an_unknown_notebook_in_use_is_no_stranger_but_a_gone_one_is(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    finished = await stage.warm(postgres)
    await postgres.notebooks.gone(gone(finished))
    unknown, starting = stage.new_id(), stage.new_id()
    whole = holds(held(finished, "serving"), held(unknown, "serving"), held(starting, "activating"))

    assert await postgres.notebooks.strangers(whole) == [finished]
    assert set(await postgres.notebooks.unknown_in_use(whole)) == {unknown, starting}


async def test_offerable_are_ready_ones_on_ready_nodes(postgres: Postgres) -> None:
    await stage.house(postgres, "node1", "node2")
    here, _ = await stage.warm(postgres), await stage.warm(postgres, "node2")
    await stage.creating(postgres)
    [_, node2] = await postgres.nodes.list()
    await postgres.nodes.move("node2", type(node2.state).CORDONED, "test", node2.version)

    offerable = await postgres.notebooks.offerable()

    assert [n.notebook for n in offerable] == [here]


class TestInventoryOfLeases:
    """The lease worker's half."""

    async def test_a_served_notebook_whose_report_was_lost_serves(self, postgres: Postgres) -> None:
        await stage.house(postgres)
        id = await stage.warm(postgres)
        granted = await postgres.leases.request(stage.ask())
        served = held(
            id, "serving", lease=granted.lease.lease, attempt=1, url="http://127.0.0.1:1/"
        )

        [moved] = await postgres.leases.inventory(holds(served))
        again = await postgres.leases.inventory(holds(served))

        assert moved.lease.phase is LeasePhase.SERVING
        assert moved.lease.url == "http://127.0.0.1:1/"
        assert again == []

    async def test_a_lost_report_s_backup_is_healed_with_it(self, postgres: Postgres) -> None:
        granted = await stage.claimed(postgres)
        assert granted.notebook is not None
        about = {"lease": granted.lease.lease, "attempt": 1, "url": "http://127.0.0.1:1/"}
        served = held(granted.notebook.notebook, "serving", home="backup-ro", **about)

        [moved] = await postgres.leases.inventory(holds(served))

        assert moved.lease.home == "backup-ro"

    async def test_a_serving_notebook_that_vanished_ends_its_lease(
        self, postgres: Postgres
    ) -> None:
        await stage.house(postgres)
        await stage.warm(postgres)
        await stage.serving(postgres)

        [moved] = await postgres.leases.inventory(holds())

        assert moved.lease.phase is LeasePhase.ENDED
        assert moved.lease.reason == "died"
        assert moved.lease.detail == "vanished from its node"

    async def test_a_claimed_one_that_exited_has_its_next_attempt(self, postgres: Postgres) -> None:
        await stage.house(postgres)
        first = await stage.warm(postgres)
        await postgres.leases.request(stage.ask(), first)
        second = await stage.warm(postgres)

        [moved] = await postgres.leases.inventory(
            holds(held(first, "exited"), held(second, "ready"))
        )

        assert moved.lease.attempt == 2
        assert moved.lease.notebook == second

    async def test_an_inventory_from_before_the_notebook_was_ready_ends_nothing(
        self, postgres: Postgres
    ) -> None:
        await stage.house(postgres)
        before = holds()
        await stage.warm(postgres)
        granted = await stage.serving(postgres)

        assert await postgres.leases.inventory(before) == []
        now = await postgres.leases.get(granted.lease.lease)
        assert now is not None
        assert now.lease == granted.lease

    async def test_an_incomplete_inventory_ends_nothing(self, postgres: Postgres) -> None:
        await stage.house(postgres)
        await stage.warm(postgres)
        await stage.serving(postgres)

        assert await postgres.leases.inventory(holds(complete=False)) == []

    async def test_held_for_a_lease_that_nobody_knows_touches_nobody_elses(
        self, postgres: Postgres
    ) -> None:
        await stage.house(postgres)
        id = await stage.warm(postgres)
        granted = await stage.serving(postgres)
        strange = held(id, "serving", lease=stage.new_id(), attempt=1, url="http://127.0.0.1:1/")

        assert await postgres.leases.inventory(holds(strange)) == []
        assert await stage.notebook(postgres, id) == granted.notebook
