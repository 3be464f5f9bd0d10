"""A hub process comes, goes and lists what it knows."""

from __future__ import annotations

import pytest

from controlplane.messages import (
    EVERY_LEASE,
    HubHello,
    HubInventory,
    KnownHub,
    LeaseEnded,
    LeaseServing,
    LineQuestion,
    NodeSurroundings,
)
from controlplane.model import EndReason, LeasePhase
from tests.lease.actors import Agent, Hub
from tests.lease.conftest import House
from tests.truth import stage as truth
from tests.truth.conftest import Owner
from tests.truth.stage import ask

pytestmark = pytest.mark.services

API = "http://10.0.0.1:8081/hub/api"


async def served(house: House, hub: Hub, user: str = "ada") -> str:
    """The lease of somebody who has a notebook."""
    await house.warm(1)
    request = ask(user)
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)
    return request.lease


def hello(hub: Hub) -> HubHello:
    return HubHello(hub=hub.hub, hub_process=hub.process, api_url=API)


async def test_agents_hear_of_a_hub_that_says_where_it_is(house: House) -> None:
    hub, agents = await house.hub(), [await house.agent("node1"), await house.agent("node2")]
    for agent in agents:
        await house.warm(1, agent.node)
    await house.worker()

    await hub.asks(hello(hub).model_copy(update={"clients": ("10.0.0.2",)}))

    for agent in agents:
        (told,) = await surroundings(agent, 1)
        assert told.hubs == (KnownHub(hub="hub1", api_url=API, clients=("10.0.0.2",)),)
        assert told.stamp > 0


async def surroundings(agent: Agent, count: int) -> list[NodeSurroundings]:
    """What this agent heard, once it is so many."""
    await agent.until(lambda: len(agent.all(NodeSurroundings)) >= count)
    return agent.all(NodeSurroundings)


async def test_where_a_hub_was_before_is_nobody_s_business(house: House) -> None:
    first, second = await house.hub(), await house.hub("hub1", "hub1-b")
    agent = await house.agent()
    await house.warm(1)
    await house.worker()
    moved = "http://10.0.0.9:8081/hub/api"

    await first.asks(hello(first))
    await surroundings(agent, 1)
    await second.asks(hello(second).model_copy(update={"api_url": moved}))
    before, after = await surroundings(agent, 2)

    assert [hub.api_url for hub in before.hubs] == [API]
    assert [hub.api_url for hub in after.hubs] == [moved]
    assert after.stamp >= before.stamp


def inventory(hub: Hub, *leases: str, complete: bool = True) -> HubInventory:
    return HubInventory(hub=hub.hub, hub_process=hub.process, complete=complete, leases=leases)


async def test_a_hub_that_connects_learns_its_leases_and_the_pools(house: House) -> None:
    hub, other = await house.hub(), await house.hub("hub2", "hub2-x")
    await house.agent()
    await house.worker()
    serving = await served(house, hub)
    waiting = ask("bob")
    await hub.asks(waiting)
    await hub.place_of(waiting.lease)

    await hub.asks(hello(hub))
    await other.asks(hello(other))
    (mine,), (theirs,) = await hub.snapshot(), await other.snapshot()

    known = {lease.lease: (lease.user, lease.phase, lease.url) for lease in mine.leases}
    assert known == {
        serving: ("ada", "serving", "http://127.0.0.1:20000/user/ada/"),
        waiting.lease: ("bob", "waiting", None),
    }
    assert [pool.pool for pool in mine.pools] == ["demo"]
    assert theirs.leases == ()


async def test_a_hub_without_anything_still_gets_its_snapshot(house: House) -> None:
    hub = await house.hub()
    await house.postgres.pools.apply([], remove_missing=True)
    await house.worker()

    await hub.asks(hello(hub))
    (part,) = await hub.snapshot()

    assert (part.parts, part.leases, part.pools) == (1, (), ())


async def test_a_restarted_hub_hears_what_its_old_process_waited_for(house: House) -> None:
    old = await house.hub()
    await house.agent()
    await house.worker()
    request = ask()
    await old.asks(request)
    await old.place_of(request.lease)

    new = await house.hub(process="hub1-b")
    await new.asks(hello(new))
    await new.snapshot()
    await house.warm(1)
    serving = await new.hears(LeaseServing, request.lease)

    assert serving.url == "http://127.0.0.1:20000/user/ada/"


async def test_a_question_is_answered_to_the_process_that_asks(house: House) -> None:
    old = await house.hub()
    await house.agent()
    await house.worker()
    lease = await served(house, old)
    new = await house.hub(process="hub1-b")

    await new.asks(LineQuestion(lease=lease, hub="hub1", hub_process="hub1-b"))
    serving = await new.hears(LeaseServing, lease)

    assert serving.node == "node1"


async def test_what_two_inventories_leave_out_ends(house: House, owner: Owner) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    forgotten, kept = await served(house, hub), await served(house, hub, "bob")
    for lease in (forgotten, kept):
        owner.age(lease, 3600)
    await house.postgres.hubs.inventory("hub1", "hub1-a", [kept])
    owner.run("update hub_misses set missed_at = missed_at - interval '60 seconds'")

    await hub.asks(inventory(hub, kept))
    ended = await hub.hears(LeaseEnded, forgotten)
    (notebook,) = {m.notebook for m in hub.all(LeaseServing) if m.lease == forgotten}
    await agent.until(lambda: notebook in agent.retired())
    granted = await house.postgres.leases.get(kept)

    assert ended.reason == EndReason.HUB_FORGOT
    assert granted is not None
    assert granted.lease.phase is LeasePhase.SERVING


async def test_a_part_of_a_long_inventory_speaks_for_its_own_span_alone(
    house: House, owner: Owner
) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.worker()
    below, inside = sorted([await served(house, hub), await served(house, hub, "bob")])
    for lease in (below, inside):
        owner.age(lease, 3600)
    await house.postgres.hubs.inventory("hub1", "hub1-a", [])
    owner.run("update hub_misses set missed_at = missed_at - interval '60 seconds'")

    part = inventory(hub, complete=False)
    await hub.asks(part.model_copy(update={"between": (inside, EVERY_LEASE[1])}))
    ended = await hub.hears(LeaseEnded, inside)
    granted = await house.postgres.leases.get(below)

    assert ended.reason == EndReason.HUB_FORGOT
    assert granted is not None
    assert granted.lease.phase is LeasePhase.SERVING


async def test_an_inventory_that_its_reader_never_settled_is_too_old_to_end_anything(
    house: House, owner: Owner
) -> None:
    hub, _ = await house.hub(), await house.agent()
    copy = await house.worker()
    lease = await served(house, hub)
    owner.age(lease, 3600)
    await house.postgres.hubs.inventory("hub1", "hub1-a", [])
    owner.run("update hub_misses set missed_at = missed_at - interval '60 seconds'")

    await house.suspected(inventory(hub))
    request = ask("bob")
    await house.suspected(request)
    await house.warm(1)
    await copy.takes_suspects()
    await hub.hears(LeaseServing, request.lease)
    granted = await house.postgres.leases.get(lease)

    assert granted is not None
    assert granted.lease.phase is LeasePhase.SERVING


async def test_an_incomplete_inventory_ends_nothing(house: House, owner: Owner) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.worker()
    lease = await served(house, hub)
    owner.age(lease, 3600)
    await house.postgres.hubs.inventory("hub1", "hub1-a", [])
    owner.run("update hub_misses set missed_at = missed_at - interval '60 seconds'")

    await hub.asks(inventory(hub, complete=False))
    await served(house, hub, "bob")
    granted = await house.postgres.leases.get(lease)

    assert granted is not None
    assert granted.lease.phase is LeasePhase.SERVING


async def test_a_pool_tells_a_hub_what_it_may_know(house: House) -> None:
    hub = await house.hub()
    spec = truth.spec(groups=("staff",), description="for everybody")
    await house.postgres.pools.apply([spec], remove_missing=False)
    await house.worker()

    await hub.asks(hello(hub))
    (part,) = await hub.snapshot()
    (pool,) = part.pools

    assert (pool.description, pool.groups, pool.image) == ("for everybody", ("staff",), "demo:1")
    assert (pool.memory_mib, pool.cpus, pool.run_as, pool.home) == (1024, 2.0, "image", "")
