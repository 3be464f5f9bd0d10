"""The liveness worker on real Postgres and RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controlplane.messages import KnownHub
from controlplane.model import NodeState
from tests.refill.agents import ScriptedAgent
from tests.refill.conftest import Stage, lab


@asynccontextmanager
async def heartbeats(agent: ScriptedAgent, engine: str = "ok") -> AsyncIterator[None]:
    """It says that it lives, as a real one does."""

    async def beat() -> None:
        while True:
            await agent.heartbeat(engine)
            await asyncio.sleep(1)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])


async def until_state(stage: Stage, node: str, state: NodeState) -> None:
    async def holds() -> bool:
        return any(n.node == node and n.state is state for n in await stage.postgres.nodes.list())

    await stage.until(holds)


async def test_a_hello_makes_a_new_node_ready(stage: Stage) -> None:
    agent = await stage.unknown_agent("a")
    await stage.liveness()

    await agent.say(agent.hello())

    await until_state(stage, "a", NodeState.READY)


async def test_an_agent_hears_at_its_hello_of_hubs_nodes_and_the_control_plane(
    stage: Stage,
) -> None:
    api = "http://10.0.0.1:8081/hub/api"
    await stage.postgres.hubs.hello("hub1", "hub1-a", api)
    first, second = await stage.unknown_agent("a"), await stage.unknown_agent("b")
    await stage.liveness()

    await first.say(first.hello(address="10.0.0.7"))
    alone = await first.heard_around(1)
    await second.say(second.hello(address="10.0.0.8"))
    both = await second.heard_around(1)
    # A new node is news for the others as well: what it publishes is closed to their notebooks.
    also = await first.heard_around(2)
    await second.say(second.hello(address="10.0.0.8"))
    await second.heard_around(2)

    assert alone.hubs == both.hubs == (KnownHub(hub="hub1", api_url=api),)
    assert alone.nodes == ("10.0.0.7",)
    assert both.nodes == also.nodes == ("10.0.0.7", "10.0.0.8")
    # Its second hello said nothing new.
    assert len(first.told) == 2


async def test_a_silent_node_is_suspect_until_its_inventory(stage: Stage) -> None:
    living, silent = await stage.agent("a"), await stage.agent("b")
    await stage.liveness()

    async with heartbeats(living):
        await until_state(stage, "b", NodeState.SUSPECT)
        async with heartbeats(silent):
            await silent.inventory({})
            await until_state(stage, "b", NodeState.READY)


async def test_a_node_whose_engine_fails_is_suspect_too(stage: Stage) -> None:
    living, failing = await stage.agent("a"), await stage.agent("b")
    await stage.liveness()

    async with heartbeats(living), heartbeats(failing, engine="failing"):
        await until_state(stage, "b", NodeState.SUSPECT)


async def test_a_suspect_node_gets_no_new_notebooks(stage: Stage) -> None:
    agents = [await stage.agent("a"), await stage.agent("b")]
    node = next(n for n in await stage.postgres.nodes.list() if n.node == "b")
    await stage.postgres.nodes.move("b", NodeState.SUSPECT, "a test says so", node.version)
    await stage.apply(lab(warm=4))

    await stage.refill()
    await stage.until_counted(ready=4)

    assert [len(agent.creates) for agent in agents] == [4, 0]
