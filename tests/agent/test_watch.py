"""What the agent believes of its containers, on an engine that misbehaves on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from controlplane.messages import (
    ActivateNotebook,
    NodeHeartbeat,
    NodeInventory,
    NotebookGone,
    RetireNotebook,
    RunExited,
    WarmupFailed,
)
from controlplane.model.pool import ContainerSpec
from controlplane.settings import NodeSettings, Settings
from tests.agent.simulated import SimulatedEngine
from tests.agent.theatre import Reported
from workers.agent.agent import Agent
from workers.agent.journal import Entry, Run
from workers.agent.registry import Item

LEASE = "01890a5d-ac96-774b-bcce-b302099a8057"


class Scene:
    """An agent that was never opened: no mounts, no streams, only what a test calls."""

    def __init__(self, agent: Agent, engine: SimulatedEngine, reported: Reported) -> None:
        self.agent = agent
        self.engine = engine
        self.reported = reported

    async def holds(self, phase: str = "ready", *, run: bool = False) -> Item:
        """One notebook of the journal, and its container on the engine."""
        notebook = str(uuid4())
        labels = {**self.agent.node.labels, "greenroom.notebook": notebook}
        self.engine.has(notebook, labels)
        spec = ContainerSpec(image="demo")
        entry: dict[str, Any] = {
            "notebook": notebook,
            "pool": "demo",
            "revision": 1,
            "spec_hash": spec.hash(),
            "spec": spec,
            "phase": phase,
            "budget_ms": 1000,
            "container": notebook,
            "port": 20_000,
            "run": lease() if run else None,
        }
        return await self.agent.node.registry.add(Entry.model_validate(entry))


def lease() -> Run:
    return Run(
        lease=LEASE,
        attempt=2,
        hub="hub1",
        user="alice",
        server="",
        prefix="/user/alice/",
        accepted_at=datetime.now(UTC),
    )


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    settings = Settings(
        seal_keys=(SecretStr(Fernet.generate_key().decode()),),
        node=NodeSettings.model_validate(
            {"name": "node1", "address": "127.0.0.1", "state_dir": str(tmp_path / "state")}
        ),
    )
    engine, reported = SimulatedEngine(), Reported()
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        agent = Agent(settings, engine, reported.publish, tasks)
        agent.node.journal.open()
        (tmp_path / "state" / "slots").mkdir()
        background = tasks.create_task(over.wait())
        yield Scene(agent, engine, reported)
        over.set()
        await background
    agent.close()


async def test_nothing_happened_and_nothing_is_reported(scene: Scene) -> None:
    await scene.holds()
    await scene.holds("serving", run=True)

    answered = await scene.agent.watch.look()

    assert answered
    assert scene.reported.all == []


async def test_an_end_that_the_stream_lost_is_found_by_the_list(scene: Scene) -> None:
    item = await scene.holds("serving", run=True)
    scene.engine.silent_stream = True
    scene.engine.dies(item.entry.notebook, exit_code=137, out_of_memory=True)

    await scene.agent.watch.look()
    exited = await scene.reported.wait(RunExited)
    await scene.agent.watch.look()

    assert (exited.lease, exited.exit_code, exited.out_of_memory) == (LEASE, 137, True)
    assert "last words" not in exited.detail
    assert len(scene.reported.of(RunExited)) == 1


async def test_a_warm_notebook_that_dies_is_a_failed_warm_up_with_its_log(scene: Scene) -> None:
    item = await scene.holds("ready")
    scene.engine.dies(item.entry.notebook, exit_code=3)

    await scene.agent.watch.look()
    failed = await scene.reported.wait(WarmupFailed)

    assert (failed.notebook, failed.reason, failed.exit_code) == (
        item.entry.notebook,
        "exited",
        3,
    )
    assert "last words" in failed.detail


async def test_an_event_is_enough(scene: Scene) -> None:
    item = await scene.holds("serving", run=True)
    follow = asyncio.create_task(scene.agent.watch.follow())

    scene.engine.dies(item.entry.notebook)
    exited = await scene.reported.wait(RunExited)
    follow.cancel()

    assert exited.notebook == item.entry.notebook


async def test_an_order_repeated_after_the_end_hears_of_the_end_again(scene: Scene) -> None:
    item = await scene.holds("serving", run=True)
    scene.engine.dies(item.entry.notebook)
    await scene.agent.watch.look()
    await scene.reported.wait(RunExited)
    order = ActivateNotebook(
        notebook=item.entry.notebook,
        lease=LEASE,
        attempt=2,
        hub="hub1",
        user="alice",
        server="",
        prefix="/user/alice/",
        epoch=1,
        budget_ms=1000,
        sealed="",
    )

    await scene.agent.desk.take(order)
    await scene.reported.wait(RunExited, times=2)

    assert len(scene.reported.all) == 2


async def test_a_silent_engine_ends_nothing_and_says_so(scene: Scene) -> None:
    item = await scene.holds("serving", run=True)
    scene.engine.away = True

    answered = await scene.agent.watch.look()
    await scene.agent.watch.inspect(item)
    await scene.agent.send_inventory()
    await scene.agent.send_heartbeat()
    inventory = await scene.reported.wait(NodeInventory)
    heartbeat = await scene.reported.wait(NodeHeartbeat)

    assert not answered
    assert not inventory.complete
    assert [held.state for held in inventory.held] == ["serving"]
    assert heartbeat.engine == "failing"
    assert scene.reported.of(RunExited) == []


@pytest.mark.parametrize("state", ["unknown", "removing", "created"])
async def test_an_odd_state_is_no_end(scene: Scene, state: Any) -> None:
    item = await scene.holds("serving", run=True)
    seen = scene.engine.containers[item.entry.notebook]
    scene.engine.containers[item.entry.notebook] = replace(seen, state=state)

    await scene.agent.watch.look()
    await scene.agent.watch.inspect(item)

    assert scene.reported.all == []


async def test_a_list_that_lacks_it_is_checked_before_it_is_believed(scene: Scene) -> None:
    item = await scene.holds("serving", run=True)
    seen = scene.engine.containers[item.entry.notebook]
    # On the list it carries no label of ours; by its id it is there and runs.
    scene.engine.containers[item.entry.notebook] = replace(seen, labels={})

    await scene.agent.watch.look()

    assert scene.reported.all == []


async def test_a_removal_in_progress_is_waited_for(scene: Scene) -> None:
    item = await scene.holds("ready")
    scene.engine.busy_removals = 2
    order = RetireNotebook(notebook=item.entry.notebook, epoch=1)

    await scene.agent.desk.take(order)
    await scene.agent.desk.take(order)
    gone = await scene.reported.wait(NotebookGone)

    assert gone.notebook == item.entry.notebook
    assert scene.engine.removed == [item.entry.notebook]
    assert len(scene.agent.node.registry) == 0


async def test_an_inventory_is_older_than_what_happens_while_it_is_made(scene: Scene) -> None:
    item = await scene.holds("ready")
    scene.engine.silent_stream = True
    scene.engine.dies(item.entry.notebook)

    await scene.agent.send_inventory()
    inventory = await scene.reported.wait(NodeInventory)
    failed = await scene.reported.wait(WarmupFailed)

    assert inventory.seq < failed.seq


async def test_a_long_inventory_comes_in_parts_with_one_stamp(scene: Scene) -> None:
    for _ in range(151):
        await scene.holds()

    await scene.agent.send_inventory()
    await scene.reported.wait(NodeInventory, times=2)
    first, second = scene.reported.of(NodeInventory)

    assert (len(first.held), len(second.held)) == (150, 1)
    assert (first.part, second.part, first.parts, second.parts) == (1, 2, 2, 2)
    assert (first.inventory, first.seq) == (second.inventory, second.seq)
