"""What a node holds heals what was lost on the way; a node that goes loses its attempts."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.messages import (
    EVERY_ID,
    ActivateNotebook,
    Held,
    LeaseClaimed,
    LeaseEnded,
    LeaseServing,
    NodeInventory,
)
from controlplane.model import EndReason, LeasePhase, NodeState
from tests.lease.actors import DEADLINE_SECONDS, Agent, Hub
from tests.lease.conftest import House
from tests.truth.stage import ask, at, new_id

pytestmark = pytest.mark.services


async def serving(house: House, hub: Hub) -> LeaseServing:
    await house.warm(1)
    request = ask(f"user-{new_id()}")
    await hub.asks(request)
    return await hub.hears(LeaseServing, request.lease)


async def accepted(house: House, hub: Hub, agent: Agent) -> ActivateNotebook:
    """An activation that the agent accepted; what it says afterwards is lost."""
    agent.answers = lambda _: "accept"
    await house.warm(1)
    request = ask(f"user-{new_id()}")
    await hub.asks(request)
    await agent.until(lambda: request.lease in {c.lease for c in agent.all(ActivateNotebook)})
    return agent.all(ActivateNotebook)[-1]


def held(command: ActivateNotebook, state: str = "serving") -> Held:
    url = f"http://127.0.0.1:20000{command.prefix}" if state == "serving" else None
    return Held(
        notebook=command.notebook,
        pool="demo",
        state=state,  # type: ignore[arg-type]  # one of the states
        lease=command.lease,
        attempt=command.attempt,
        url=url,
    )


async def test_a_lost_report_is_healed_by_the_next_inventory(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    command = await accepted(house, hub, agent)

    await agent.says(NodeInventory(**at(), inventory="i1", held=(held(command),)))
    answer = await hub.hears(LeaseServing, command.lease)

    assert answer.url == f"http://127.0.0.1:20000{command.prefix}"


async def test_each_part_of_an_inventory_counts_by_itself(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    command, other = await accepted(house, hub, agent), await accepted(house, hub, agent)
    about = at() | {"inventory": "i1", "parts": 2}
    first, second = sorted((command, other), key=lambda each: each.notebook)
    spans = (EVERY_ID[0], second.notebook), (second.notebook, EVERY_ID[1])

    await agent.says(NodeInventory(**about, part=2, between=spans[1], held=(held(second),)))
    await hub.hears(LeaseServing, second.lease)
    await agent.says(NodeInventory(**about, part=1, between=spans[0], held=(held(first),)))
    await hub.hears(LeaseServing, first.lease)

    assert hub.all(LeaseEnded) == []


async def test_what_an_inventory_says_has_exited_ends(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    answer = await serving(house, hub)
    (command,) = agent.all(ActivateNotebook)

    await agent.says(NodeInventory(**at(), inventory="i1", held=(held(command, "exited"),)))
    ended = await hub.hears(LeaseEnded, answer.lease)

    assert ended.reason == EndReason.DIED


async def test_what_a_complete_inventory_leaves_out_ends(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    answer = await serving(house, hub)

    await agent.says(NodeInventory(**at(), inventory="i1"))
    ended = await hub.hears(LeaseEnded, answer.lease)

    assert ended.reason == EndReason.DIED


async def test_what_an_incomplete_or_an_old_inventory_leaves_out_goes_on(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    old = at()
    answer = await serving(house, hub)

    await agent.says(NodeInventory(**at(), inventory="i1", complete=False))
    await agent.says(NodeInventory(**old, inventory="i0"))
    later = await serving(house, hub)
    granted = await house.postgres.leases.get(answer.lease)

    assert later.lease != answer.lease
    assert granted is not None
    assert granted.lease.phase is LeasePhase.SERVING


async def test_an_order_that_was_lost_is_given_again_after_an_inventory(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    agent.answers = lambda _: "nothing"
    (notebook,) = await house.warm(1)
    request = ask()
    await hub.asks(request)
    await hub.hears(LeaseClaimed, request.lease)
    agent.answers = lambda _: "serve"

    await agent.says(
        NodeInventory(
            **at(),
            inventory="i1",
            held=(Held(notebook=notebook, pool="demo", state="ready"),),
        )
    )
    answer = await hub.hears(LeaseServing, request.lease)

    assert answer.notebook == notebook


async def move(house: House, node: str, state: NodeState) -> None:
    (row,) = [n for n in await house.postgres.nodes.list() if n.node == node]
    assert await house.postgres.nodes.move(node, state, "a test", row.version) is not None


async def test_attempts_on_a_suspect_node_move_on_and_serving_leases_stay(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.agent("node2")
    await house.worker()
    stays = await serving(house, hub)
    command = await accepted(house, hub, agent)
    await house.warm(2, "node2")

    await move(house, "node1", NodeState.SUSPECT)
    answer = await hub.hears(LeaseServing, command.lease)
    granted = await house.postgres.leases.get(stays.lease)

    assert answer.node == "node2"
    assert granted is not None
    assert (granted.lease.phase, granted.lease.node) == (LeasePhase.SERVING, "node1")


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.CORDONED, NodeState.DRAINING])
async def test_only_ready_nodes_are_offered(house: House, state: NodeState) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.agent("node2")
    copy = await house.worker()
    away = await house.warm(3)
    here = await house.warm(1, "node2")
    await move(house, "node1", state)
    # Even an index that is behind offers only what Postgres allows.
    await copy.tools.redis.audit({"demo": [*away, *here]})

    request = ask()
    await hub.asks(request)
    answer = await hub.hears(LeaseServing, request.lease)

    assert answer.node == "node2"


async def test_a_ready_notebook_is_in_the_index_by_itself(house: House) -> None:
    await house.agent()
    copy = await house.worker()
    (notebook,) = await house.warm(1)
    index = copy.tools.redis

    # Redis tells nobody of a change, so it is looked at again and again.
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await index._redis.zscore(index._key("ready:demo"), notebook) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
