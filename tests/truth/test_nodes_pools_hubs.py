"""Nodes, pools, hubs and what refill is shown."""

from __future__ import annotations

import pytest

from controlplane.clients.postgres import Postgres
from controlplane.errors import Refused
from controlplane.messages import NodeHeartbeat, NodeHello, NodeInventory, WarmupFailed
from controlplane.model import Limits
from controlplane.model.phases import EndReason, LeasePhase, NodeState
from tests.truth import stage
from tests.truth.conftest import Owner


def hello(epoch: int, address: str = "127.0.0.1") -> NodeHello:
    return NodeHello(**stage.at(epoch=epoch), address=address, max_notebooks=9)


async def test_a_new_node_is_ready_and_a_higher_epoch_is_taken(postgres: Postgres) -> None:
    first = await postgres.nodes.hello(hello(5))
    second = await postgres.nodes.hello(hello(6, "127.0.0.2"))

    assert (first.state, first.epoch, first.version) == (NodeState.READY, 5, 1)
    assert (second.epoch, second.address, second.max_notebooks) == (6, "127.0.0.2", 9)


async def test_a_lower_epoch_changes_nothing(postgres: Postgres) -> None:
    known = await postgres.nodes.hello(hello(5))

    answered = await postgres.nodes.hello(hello(4, "127.0.0.9"))
    await postgres.nodes.heartbeat(NodeHeartbeat(**stage.at(epoch=4)))

    assert answered == known
    assert await postgres.nodes.list() == [known]


async def test_a_hello_leaves_the_state_to_liveness(postgres: Postgres) -> None:
    known = await postgres.nodes.hello(hello(5))
    await postgres.nodes.move("node1", NodeState.SUSPECT, "silent", known.version)

    answered = await postgres.nodes.hello(hello(6))

    assert answered.state is NodeState.SUSPECT
    assert answered.reason == "silent"


async def test_a_heartbeat_is_seen_and_never_journaled(postgres: Postgres, owner: Owner) -> None:
    known = await postgres.nodes.hello(hello(5))
    await postgres.nodes.heartbeats(
        [NodeHeartbeat(**stage.at(epoch=5)), NodeHeartbeat(**stage.at("unknown"))]
    )

    [seen] = await postgres.nodes.list()

    assert seen.last_seen > known.last_seen
    assert seen.version == known.version
    assert owner.run("select count(*) from events where entity = 'node'") == [(1,)]


async def test_another_report_is_a_sign_of_life_and_no_more(
    postgres: Postgres, owner: Owner
) -> None:
    known = await postgres.nodes.hello(hello(5))
    await postgres.nodes.heartbeat(NodeHeartbeat(**stage.at(epoch=5), unreachable_hubs=("hub1",)))

    await postgres.nodes.seen(NodeInventory(**stage.at(epoch=5), inventory="i"))
    await postgres.nodes.seen(NodeInventory(**stage.at("unknown"), inventory="i"))

    [seen] = await postgres.nodes.list()
    assert seen.last_seen > known.last_seen
    assert owner.run("select unreachable_hubs from sightings") == [(["hub1"],)]
    assert [node.unreachable_hubs for node in await postgres.nodes.list()] == [("hub1",)]


async def test_a_node_is_moved_once_per_version(postgres: Postgres) -> None:
    known = await postgres.nodes.hello(hello(5))

    moved = await postgres.nodes.move("node1", NodeState.CORDONED, "by ada", known.version)
    late = await postgres.nodes.move("node1", NodeState.LOST, "silent", known.version)

    assert moved is not None
    assert moved.state is NodeState.CORDONED
    assert late is None
    assert await postgres.nodes.move("node2", NodeState.LOST, "silent", 1) is None


async def test_applying_the_same_again_changes_nothing(postgres: Postgres) -> None:
    first = await postgres.pools.apply([stage.spec()], remove_missing=False)
    again = await postgres.pools.apply([stage.spec()], remove_missing=True)

    assert [(c.what, c.revision) for c in first + again] == [("created", 1), ("unchanged", 1)]
    [pool] = await postgres.pools.list()
    assert pool.spec == stage.spec()
    assert pool.spec_hash == stage.spec().container.hash()


async def test_every_change_is_a_revision_and_equal_containers_share_a_hash(
    postgres: Postgres,
) -> None:
    for changes in ({}, {"image": "demo:2"}, {"warm": 9}, {"image": "demo:2", "warm": 1}):
        await postgres.pools.apply([stage.spec(**changes)], remove_missing=False)

    snapshot = await postgres.pools.snapshot("demo")

    assert snapshot.pool.revision == 4
    assert snapshot.same_revisions == {2, 4}
    assert await postgres.pools.revision("demo", 3) == stage.spec(warm=9)
    with pytest.raises(Refused, match="no revision 5"):
        await postgres.pools.revision("demo", 5)


async def test_a_removed_pool_wants_nothing_until_its_last_notebook_is_gone(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    id = await stage.warm(postgres)

    [kept, removed] = await postgres.pools.apply([stage.spec("other")], remove_missing=True)
    listed = {p.name: p for p in await postgres.pools.list()}
    snapshot = await postgres.pools.snapshot("demo")
    offered = (await postgres.hubs.snapshot("hub1"))[1]
    owner_gone = await postgres.notebooks.retire([id], "removed")

    assert (kept.what, removed.what) == ("created", "removed")
    assert listed["demo"].spec.warm == listed["demo"].spec.maximum == 0
    assert snapshot.pool.spec.paused
    assert [p.name for p in offered] == ["other"]
    assert len(owner_gone) == 1


async def test_a_removed_pool_comes_back_as_a_new_revision(postgres: Postgres) -> None:
    await postgres.pools.apply([stage.spec()], remove_missing=False)
    await postgres.pools.apply([], remove_missing=True)

    [change] = await postgres.pools.apply([stage.spec()], remove_missing=False)

    assert (change.what, change.revision) == ("created", 2)


async def test_an_unknown_pool_has_no_snapshot(postgres: Postgres) -> None:
    with pytest.raises(Refused, match="no pool nothing"):
        await postgres.pools.snapshot("nothing")


async def test_refill_is_shown_nodes_notebooks_waiters_and_failures(postgres: Postgres) -> None:
    await stage.house(postgres, "node1", "node2")
    await stage.warm(postgres, "node1")
    await postgres.leases.request(stage.ask("ada"))
    await postgres.leases.request(stage.ask("bob"))
    broken = await stage.creating(postgres, "node2")
    await postgres.notebooks.failed(
        WarmupFailed(**stage.at("node2"), notebook=broken, reason="no_image")
    )

    snapshot = await postgres.pools.snapshot("demo")

    assert [(n.node, n.occupied, n.max_notebooks) for n in snapshot.nodes] == [
        ("node1", 1, 50),
        ("node2", 1, 50),
    ]
    assert sorted(n.phase for n in snapshot.notebooks) == ["failed", "leased"]
    assert (snapshot.waiting, snapshot.activating, snapshot.stamp) == (1, 1, 2)
    assert [(f.revision, f.node, f.count) for f in snapshot.failures] == [(1, "node2", 1)]
    assert snapshot.failures[0].last_at <= snapshot.taken_at


async def test_a_success_ends_a_row_of_failures(postgres: Postgres) -> None:
    await stage.house(postgres)
    for _ in range(2):
        broken = await stage.creating(postgres)
        await postgres.notebooks.failed(
            WarmupFailed(**stage.at(), notebook=broken, reason="no_image")
        )
    before = (await postgres.pools.snapshot("demo")).failures
    await stage.warm(postgres)

    after = (await postgres.pools.snapshot("demo")).failures

    assert [f.count for f in before] == [2]
    assert after == ()


async def test_a_line_is_shown_with_what_may_come_for_it(postgres: Postgres) -> None:
    await stage.house(postgres, maximum=7)
    await stage.warm(postgres)
    await postgres.leases.request(stage.ask("ada"))
    first = await postgres.leases.request(stage.ask("bob"))
    second = await postgres.leases.request(stage.ask("eve"))
    await stage.creating(postgres)

    [line] = await postgres.leases.places()

    assert [w.lease for w in line.waiting] == [first.lease.lease, second.lease.lease]
    assert all(w.sealed is None for w in line.waiting)
    assert (line.pool, line.maximum, line.paused) == ("demo", 7, False)
    assert (line.ready, line.warming, line.held, line.leaving) == (0, 1, 1, 0)
    assert (line.nodes, line.free, line.failures) == (1, 48, 0)
    assert line.warm_seconds is not None


async def test_without_waiters_there_is_no_line(postgres: Postgres) -> None:
    await stage.house(postgres)

    assert await postgres.leases.places() == []
    assert await postgres.leases.waiting_pools() == []


async def test_a_hub_that_connects_again_gets_its_answers_there(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    mine = await stage.serving(postgres, "ada")
    await postgres.leases.request(stage.ask("bob", hub="hub2", hub_process="hub2-a"))

    await postgres.hubs.hello("hub1", "hub1-b", "http://hub:8081/hub/api")
    leases, pools = await postgres.hubs.snapshot("hub1")

    assert [row.lease for row in leases] == [mine.lease.lease]
    assert leases[0].hub_process == "hub1-b"
    assert [p.name for p in pools] == ["demo"]
    assert {row.hub_process for row in await postgres.leases.list()} == {"hub1-b", "hub2-a"}


async def test_after_a_rollback_the_old_revision_is_wanted_again(postgres: Postgres) -> None:
    for image in ("demo:1", "demo:2", "demo:1"):
        await postgres.pools.apply([stage.spec(image=image)], remove_missing=False)

    assert await postgres.pools.wanted() == {("demo", 1), ("demo", 3)}


class TestInventoryOfHubs:
    async def forgotten(self, postgres: Postgres, owner: Owner) -> str:
        """A serving lease, answered a minute ago."""
        await stage.house(postgres)
        await stage.warm(postgres)
        granted = await stage.serving(postgres)
        owner.age(granted.lease.lease, 60)
        return granted.lease.lease

    async def test_left_out_of_two_it_ends(self, postgres: Postgres, owner: Owner) -> None:
        lease = await self.forgotten(postgres, owner)

        first = await postgres.hubs.inventory("hub1", "hub1-a", [])
        owner.run("update hub_misses set missed_at = missed_at - interval '10 s'")
        [ended] = await postgres.hubs.inventory("hub1", "hub1-a", [])

        assert first == []
        assert ended.lease.lease == lease
        assert ended.lease.reason is EndReason.HUB_FORGOT
        assert len(ended.retired) == 1

    async def test_the_same_inventory_twice_is_one(self, postgres: Postgres, owner: Owner) -> None:
        await self.forgotten(postgres, owner)

        await postgres.hubs.inventory("hub1", "hub1-a", [])
        owner.run("update hub_misses set missed_at = now() + interval '1 hour'")

        assert await postgres.hubs.inventory("hub1", "hub1-a", []) == []

    async def test_known_again_it_is_not_forgotten(self, postgres: Postgres, owner: Owner) -> None:
        lease = await self.forgotten(postgres, owner)
        await postgres.hubs.inventory("hub1", "hub1-a", [])
        owner.run("update hub_misses set missed_at = missed_at - interval '10 s'")
        await postgres.hubs.inventory("hub1", "hub1-a", [lease])

        assert await postgres.hubs.inventory("hub1", "hub1-a", []) == []

    async def test_a_lease_answered_just_now_may_not_be_known_yet(
        self, postgres: Postgres, owner: Owner
    ) -> None:
        lease = await self.forgotten(postgres, owner)
        owner.age(lease, -3600)

        await postgres.hubs.inventory("hub1", "hub1-a", [])
        owner.run("update hub_misses set missed_at = missed_at - interval '10 s'")

        assert await postgres.hubs.inventory("hub1", "hub1-a", []) == []

    async def test_answered_between_two_inventories_it_is_not_forgotten(
        self, postgres: Postgres, owner: Owner
    ) -> None:
        lease = await self.forgotten(postgres, owner)
        await postgres.hubs.inventory("hub1", "hub1-a", [])
        owner.run("update hub_misses set missed_at = missed_at - interval '50 s'")

        assert await postgres.hubs.inventory("hub1", "hub1-a", []) == []
        kept = await postgres.leases.get(lease)
        assert kept is not None
        assert kept.lease.phase is LeasePhase.SERVING

    async def test_a_hub_that_never_heard_of_an_end_is_told_again(
        self, postgres: Postgres, owner: Owner
    ) -> None:
        lease = await self.forgotten(postgres, owner)
        await postgres.leases.release(lease, "hub1", EndReason.ADMIN)
        owner.age(lease, 60)

        [told] = await postgres.hubs.inventory("hub1", "hub1-b", [lease])

        assert told.lease.reason is EndReason.ADMIN
        assert told.lease.hub_process == "hub1-b"
        assert await postgres.hubs.inventory("hub1", "hub1-b", []) == []
        assert await postgres.hubs.inventory("hub2", "hub2-a", [lease]) == []

    async def test_another_hubs_inventory_ends_nothing(
        self, postgres: Postgres, owner: Owner
    ) -> None:
        await self.forgotten(postgres, owner)
        await postgres.hubs.inventory("hub2", "hub2-a", [])

        assert owner.run("select count(*) from hub_misses") == [(0,)]


async def test_limits_over_all_pools_are_applied_with_the_pools(postgres: Postgres) -> None:
    none = await postgres.pools.limits()
    first = Limits(max_per_user=2, max_per_group={"students": 10})
    created = await postgres.pools.apply([], remove_missing=False, limits=first)
    again = await postgres.pools.apply([], remove_missing=False, limits=first)
    left_out = await postgres.pools.apply([], remove_missing=False)
    kept, _ = await postgres.pools.limits()
    changed = await postgres.pools.apply([], remove_missing=False, limits=Limits(max_per_user=3))
    removed = await postgres.pools.apply([], remove_missing=True)

    assert none == (Limits(), 0)
    assert kept == first
    assert again == left_out == []
    assert [(c.pool, c.what) for c in created + changed + removed] == [
        ("[limits]", "created"),
        ("[limits]", "changed"),
        ("[limits]", "removed"),
    ]
    assert (await postgres.pools.limits())[0] == Limits()
