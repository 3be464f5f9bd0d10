"""An agent that starts again adopts what runs, and harms nobody; on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from controlplane.messages import (
    NodeInventory,
    NotebookGone,
    RunActivated,
    RunExited,
    RunRefused,
    WarmupFailed,
    WarmupReady,
)
from tests.agent.theatre import Theatre, get


@pytest.fixture
def theatre(either_theatre: Theatre) -> Theatre:
    """On both engines."""
    return either_theatre


async def test_a_restarted_agent_adopts_warm_and_serving_notebooks(theatre: Theatre) -> None:
    theatre.home_of("alice")
    theatre.home_of("bob")
    serving, warm = theatre.create_order(), theatre.create_order()
    await theatre.take(serving)
    await theatre.take(warm)
    await theatre.reported.wait(WarmupReady, times=2)
    first = theatre.activate_order(serving.notebook)
    await theatre.take(first)
    activated = await theatre.reported.wait(RunActivated)
    await theatre.settled(serving.notebook)
    old_epoch = theatre.agent.node.reports.epoch

    await theatre.restart()
    await theatre.agent.send_inventory()
    inventory = await theatre.reported.wait(NodeInventory)
    status, _ = await get(f"{activated.url}/user/alice/api")
    await theatre.take(first)
    again = await theatre.reported.wait(RunActivated)
    await theatre.take(theatre.activate_order(warm.notebook, "bob"))
    second = await theatre.reported.wait(RunActivated, fits=lambda r: r.notebook == warm.notebook)
    bob, _ = await get(f"{second.url}/user/bob/api")

    held = {h.notebook: h for h in inventory.held}
    assert inventory.complete
    assert inventory.epoch > old_epoch
    assert (held[serving.notebook].state, held[serving.notebook].lease) == ("serving", first.lease)
    assert (held[warm.notebook].state, held[warm.notebook].lease) == ("ready", None)
    assert held[warm.notebook].url is not None
    assert (again.lease, again.url) == (first.lease, activated.url)
    assert (status, bob) == (200, 200)


async def test_a_warm_up_goes_on_in_the_next_life(theatre: Theatre) -> None:
    order = theatre.create_order()
    await theatre.take(order)

    await theatre.restart()
    ready = await theatre.reported.wait(WarmupReady)
    seen = await theatre.engine.list(theatre.agent.node.labels)

    assert ready.notebook == order.notebook
    assert len(seen) == 1


async def test_an_accepted_order_that_was_never_handed_over_waits_for_its_reissue(
    theatre: Theatre,
) -> None:
    theatre.home_of("alice")
    create = theatre.create_order()
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady)
    order = theatre.activate_order(create.notebook)
    async with no_turns(theatre):
        await theatre.take(order)
        await theatre.restart()
    before = theatre.reported.of(RunActivated)

    await theatre.take(theatre.activate_order(create.notebook, "bob"))
    refused = await theatre.reported.wait(RunRefused)
    await theatre.take(order)
    activated = await theatre.reported.wait(RunActivated)

    assert before == []
    assert refused.reason == "taken"
    assert activated.lease == order.lease


async def test_an_end_that_no_agent_saw_is_reported_by_the_next(theatre: Theatre) -> None:
    theatre.home_of("alice")
    create = theatre.create_order()
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady)
    order = theatre.activate_order(create.notebook)
    await theatre.take(order)
    await theatre.reported.wait(RunActivated)

    await theatre.life.end()
    await theatre.engine.stop(theatre.container_name(create.notebook), seconds=0)
    await theatre.restart()
    exited = await theatre.reported.wait(RunExited)

    assert (exited.notebook, exited.lease) == (create.notebook, order.lease)


async def test_a_container_that_somebody_removed_is_reported(theatre: Theatre) -> None:
    create = theatre.create_order()
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady)

    await theatre.engine.remove(theatre.container_name(create.notebook))
    failed = await theatre.reported.wait(WarmupFailed)
    await theatre.take(theatre.retire_order(create.notebook))
    await theatre.reported.wait(NotebookGone)

    assert failed.notebook == create.notebook
    assert theatre.agent.node.slots.names() == []


async def test_a_notebook_whose_journal_was_lost_is_held_and_still_retired(
    theatre: Theatre,
) -> None:
    create = theatre.create_order()
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady)
    await theatre.life.end()
    (theatre.folder / "state" / "journal" / f"{create.notebook}.jsonl").write_text("torn")

    await theatre.restart()
    await theatre.agent.send_inventory()
    inventory = await theatre.reported.wait(NodeInventory)
    await theatre.take(theatre.retire_order(create.notebook))
    await theatre.reported.wait(NotebookGone)

    assert [h.notebook for h in inventory.held] == [create.notebook]
    assert await theatre.engine.list(theatre.agent.node.labels) == []
    assert theatre.agent.node.slots.names() == []


async def test_containers_of_others_are_never_touched(theatre: Theatre) -> None:
    name = f"{theatre.settings.installation}-bystander"
    create = theatre.create_order()
    # Our installation, another node, and the very id that is about to be retired.
    labels = {
        "greenroom.installation": theatre.settings.installation,
        "greenroom.node": "node2",
        "greenroom.notebook": create.notebook,
    }
    config = {"Image": theatre.image, "Entrypoint": ["sleep", "600"], "Labels": labels}
    await theatre.engine.create(name, config)
    await theatre.engine.start(name)
    try:
        await theatre.take(theatre.retire_order(create.notebook))
        await theatre.reported.wait(NotebookGone)
        await theatre.restart()
        await theatre.agent.send_inventory()
        inventory = await theatre.reported.wait(NodeInventory)
        seen = await theatre.engine.inspect(name)
    finally:
        await theatre.engine.remove(name)

    assert inventory.held == ()
    assert seen is not None
    assert seen.state == "running"


async def test_a_late_create_does_not_bring_a_removed_notebook_back(theatre: Theatre) -> None:
    create = theatre.create_order(notebook=str(uuid4()))
    await theatre.take(create)
    await theatre.take(theatre.retire_order(create.notebook))
    await theatre.reported.wait(NotebookGone)

    await theatre.take(create)
    await theatre.reported.wait(NotebookGone, times=2)

    assert await theatre.engine.list(theatre.agent.node.labels) == []


@asynccontextmanager
async def no_turns(theatre: Theatre) -> AsyncIterator[None]:
    """All turns are taken: what is accepted waits."""
    turns = theatre.agent.node.turns
    while not turns.locked():
        await turns.acquire()
    yield
