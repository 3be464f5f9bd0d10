"""A notebook's whole life, on a real engine and on the simulated one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from controlplane.messages import (
    NotebookGone,
    RunAccepted,
    RunActivated,
    RunExited,
    RunRefused,
    WarmupCreated,
    WarmupReady,
)
from tests.agent.theatre import Theatre, get
from workers.agent import activation, syscalls
from workers.agent.node import activations_of


@pytest.fixture
def theatre(either_theatre: Theatre) -> Theatre:
    """On both engines."""
    return either_theatre


async def test_a_notebook_warms_serves_one_person_and_leaves_nothing(theatre: Theatre) -> None:
    home = theatre.home_of("alice")
    (home / "letter.txt").write_text("dear diary")
    order = theatre.create_order()

    await theatre.take(order)
    created = await theatre.reported.wait(WarmupCreated)
    ready = await theatre.reported.wait(WarmupReady)
    await theatre.take(theatre.activate_order(order.notebook))
    activated = await theatre.reported.wait(RunActivated)
    status, body = await get(f"{activated.url}/user/alice/api")
    mounted = (theatre.agent.node.slots.home(order.notebook) / "letter.txt").read_text()
    await theatre.take(theatre.retire_order(order.notebook))
    await theatre.reported.wait(NotebookGone)

    assert created.container == ready.container
    assert status == 200
    assert '"version"' in body
    assert mounted == "dear diary"
    assert {"accept", "turn", "mount", "handover", "serve", "probe"} <= set(activated.stages)
    assert await theatre.engine.inspect(created.container) is None
    assert syscalls.mounted_below(theatre.agent.node.slots.home(order.notebook).parent) == []
    assert theatre.agent.node.slots.names() == []
    assert os.listdir(theatre.folder / "state" / "journal") == []
    assert (home / "letter.txt").read_text() == "dear diary"


async def test_a_second_lease_never_gets_the_same_notebook(theatre: Theatre) -> None:
    theatre.home_of("alice")
    theatre.home_of("bob")
    order = theatre.create_order()
    await theatre.take(order)
    await theatre.reported.wait(WarmupReady)
    first = theatre.activate_order(order.notebook)
    second = theatre.activate_order(order.notebook, "bob")

    await theatre.take(first)
    await theatre.take(second)
    refused = await theatre.reported.wait(RunRefused)
    await theatre.reported.wait(RunActivated)
    await theatre.take(first)
    again = await theatre.reported.wait(RunActivated, times=2)

    assert (refused.lease, refused.reason) == (second.lease, "taken")
    assert again.lease == first.lease
    assert len(theatre.reported.of(RunRefused)) == 1


async def test_the_same_order_twice_at_once_is_one_activation(theatre: Theatre) -> None:
    theatre.home_of("alice")
    create = theatre.create_order()
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady)
    order = theatre.activate_order(create.notebook)

    await asyncio.gather(*(theatre.take(order) for _ in range(5)))
    await theatre.reported.wait(RunActivated)

    assert theatre.reported.of(RunRefused) == []
    assert {report.lease for report in theatre.reported.of(RunActivated)} == {order.lease}


async def test_an_activation_that_lasts_is_said_to_be_accepted(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "ACCEPTED_WAITS_SECONDS", 0.0)
    theatre.home_of("alice")
    create = theatre.create_order()
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady)
    turns = [theatre.agent.node.turns for _ in range(activations_of(theatre.agent.node.settings))]
    for turn in turns:
        await turn.acquire()

    await theatre.take(theatre.activate_order(create.notebook))
    accepted = await theatre.reported.wait(RunAccepted)
    for turn in turns:
        turn.release()
    activated = await theatre.reported.wait(RunActivated)

    assert accepted.lease == activated.lease


async def test_an_activation_that_is_over_soon_is_reported_once(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "ACCEPTED_WAITS_SECONDS", 3600.0)
    theatre.home_of("alice")
    create = theatre.create_order()
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady)

    await theatre.take(theatre.activate_order(create.notebook))
    await theatre.reported.wait(RunActivated)

    assert theatre.reported.of(RunAccepted) == []


async def test_a_port_of_another_process_is_passed_over(theatre: Theatre) -> None:
    ports = theatre.agent.node.ports
    before = ports.take()
    with socket.socket() as other:
        # The next one of the range, whoever has it: this test or a stranger.
        with contextlib.suppress(OSError):
            other.bind(("127.0.0.1", before + 1))
            other.listen()
        await theatre.take(theatre.create_order())
        ready = await theatre.reported.wait(WarmupReady)

    assert urlsplit(ready.url).port not in (before, before + 1)


async def test_a_killed_notebook_is_reported_with_its_exit_code(theatre: Theatre) -> None:
    theatre.home_of("alice")
    order = theatre.create_order()
    await theatre.take(order)
    await theatre.reported.wait(WarmupReady)
    await theatre.take(theatre.activate_order(order.notebook))
    await theatre.reported.wait(RunActivated)

    await theatre.engine.stop(theatre.container_name(order.notebook), seconds=0)
    exited = await theatre.reported.wait(RunExited)

    assert exited.exit_code == 137
    assert (theatre.folder / "state" / "dead" / f"{order.notebook}.log").stat().st_size > 0


async def test_retiring_what_is_not_here_says_gone(theatre: Theatre) -> None:
    stranger = str(uuid4())

    await theatre.take(theatre.retire_order(stranger))
    gone = await theatre.reported.wait(NotebookGone)

    assert gone.notebook == stranger
