"""What a hub's form is told of the pools."""

from __future__ import annotations

import pytest

from controlplane.messages import HubPools, LeaseEnded, LeaseServing, NodeHeartbeat, PoolsQuestion
from controlplane.model import EndReason, Limits
from tests.lease.actors import Hub
from tests.lease.conftest import House
from tests.truth import stage as truth
from tests.truth.stage import ask

pytestmark = pytest.mark.services


async def told(hub: Hub) -> HubPools:
    """The answer to the first question."""
    await hub.asks(PoolsQuestion(hub=hub.hub, hub_process=hub.process))
    await hub.until(lambda: bool(hub.all(HubPools)))
    return hub.all(HubPools)[0]


async def test_a_question_is_answered_with_what_is_warm_and_who_waits(house: House) -> None:
    hub = await house.hub()
    await house.agent()
    await house.worker()
    specs = [truth.spec(display_name="Demo"), truth.spec("dry", maximum=0)]
    await house.postgres.pools.apply(specs, remove_missing=False)
    await house.warm(2)
    await house.postgres.leases.request(ask("ada", pool="dry"))

    answer = await told(hub)

    demo, dry = answer.pools
    assert (answer.hub, answer.part, answer.parts) == ("hub1", 1, 1)
    assert (demo.pool, demo.display_name) == ("demo", "Demo")
    assert demo.outlook is not None
    assert (demo.outlook.warm, demo.outlook.why, demo.outlook.wait_seconds) == (2, "ready", 0)
    assert dry.outlook is not None
    assert (dry.outlook.warm, dry.outlook.waiting, dry.outlook.why) == (0, 1, "at_capacity")


async def test_limits_are_told_with_what_counts_towards_them(house: House) -> None:
    hub = await house.hub()
    await house.agent()
    await house.worker()
    specs = [truth.spec(max_per_user=1, max_per_group={"x": 5}), truth.spec("other")]
    limits = Limits(max_per_user=3, max_per_group={"x": 9, "y": 9})
    await house.postgres.pools.apply(specs, remove_missing=False, limits=limits)
    await house.postgres.leases.request(ask("ada", groups=("x",)))
    await house.postgres.leases.request(ask("bob", groups=("x", "y"), pool="other"))
    await house.postgres.leases.request(ask("ada", groups=("x",), hub="hub2"))

    answer = await told(hub)

    demo, other = answer.pools
    assert (demo.max_per_user, demo.max_per_group, demo.held) == (1, {"x": 5}, {"x": 1})
    assert (other.max_per_user, other.max_per_group, other.held) == (None, {}, {})
    assert (answer.max_per_user, answer.max_per_group) == (3, {"x": 9, "y": 9})
    assert answer.held == {"x": 2, "y": 1}


async def test_a_start_beyond_a_limit_ends_at_once_and_stands_in_no_line(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    await house.postgres.pools.apply([truth.spec(max_per_user=1)], remove_missing=False)
    await house.warm(2)
    first, second = ask(server="a", prefix="/user/ada/a/"), ask(server="b", prefix="/user/ada/b/")
    await hub.asks(first)
    await hub.hears(LeaseServing, first.lease)

    await hub.asks(second)
    ended = await hub.hears(LeaseEnded, second.lease)

    assert ended.reason == EndReason.QUOTA
    assert "you have 1 notebook of pool demo already (a)" in ended.detail
    assert await house.postgres.leases.waiting_pools() == []
    assert len(agent.served) == 1


async def test_a_notebook_that_no_path_leads_to_is_not_warm_for_that_hub(house: House) -> None:
    hub = await house.hub()
    await house.agent()
    await house.worker()
    await house.warm(1)
    await house.postgres.nodes.heartbeat(NodeHeartbeat(**truth.at(), unreachable_hubs=("hub1",)))

    answer = await told(hub)

    assert answer.pools[0].outlook is not None
    assert answer.pools[0].outlook.warm == 0
