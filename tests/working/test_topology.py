"""The table of queues fits the handlers: nothing is handled that cannot come, nothing lost."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from controlplane.clients.rabbitmq import Route, event, report, request
from controlplane.clients.rabbitmq.topology import EXCHANGES, REQUESTS, SHARED, queue
from controlplane.errors import Terminal
from controlplane.messages import Message, Moved, Report, decode
from controlplane.model.phases import LeasePhase, NodeState, NotebookPhase
from workers import lease, liveness, refill, suspect
from workers.loop import Lane

SAMPLES = Path(__file__).parents[1] / "samples"


def samples() -> list[Message]:
    return [decode(file.read_bytes()).message for file in sorted(SAMPLES.glob("*.json"))]


def routes(message: Message) -> list[Route]:
    """Every way that this message may go to a shared queue."""
    if isinstance(message, Report):
        return [report(message)]
    if isinstance(message, Moved):
        phases = {"notebook": NotebookPhase, "lease": LeasePhase, "node": NodeState}
        return [
            event(message.model_copy(update={"entity": entity, "phase": phase.value}))
            for entity, kind in phases.items()
            for phase in kind
        ]
    if message.TYPE.rpartition(".v")[0] in REQUESTS:
        return [request(message)]
    return []


def takes(name: str, route: Route) -> bool:
    """Whether the broker would put it into this queue."""
    return any(
        exchange == route.exchange
        and re.fullmatch(key.replace(".", r"\.").replace(r"\.#", r"(\..*)?"), route.key)
        for exchange, key in queue(name).bindings
    )


@pytest.fixture(scope="module")
def lanes() -> dict[str, Lane]:
    """The real workers' lanes; nothing is called."""
    rooms = (lease, refill, liveness)
    return {lane.queue: lane for room in rooms for lane in room.work(MagicMock()).lanes}


def test_the_suspect_process_knows_every_queue_that_a_worker_shares(
    lanes: dict[str, Lane],
) -> None:
    (lane,) = suspect.lanes(MagicMock())
    shared = {known.name for known in SHARED} - {"suspect", "quarantine"}

    assert set(lane.origins) == set(lanes) == shared


def test_the_suspect_process_handles_all_but_old_inventories_of_hubs(
    lanes: dict[str, Lane],
) -> None:
    (lane,) = suspect.lanes(MagicMock())
    left_out = {
        kind.TYPE
        for name, origin in lane.origins.items()
        for kind in lanes[name].handlers.keys() - origin.handlers.keys()
    }

    assert left_out == {"hub.inventory.v1"}


def test_whatever_a_worker_handles_can_come_to_its_queue(lanes: dict[str, Lane]) -> None:
    by_type = {type(message): message for message in samples()}
    never = [
        (name, kind.TYPE)
        for name, lane in lanes.items()
        for kind in lane.handlers
        if not any(takes(name, route) for route in routes(by_type[kind]))
    ]

    assert never == []


def test_every_request_and_report_has_a_queue_and_a_handler(lanes: dict[str, Lane]) -> None:
    expected = [message for message in samples() if isinstance(message, Report) or _asked(message)]
    lost = [
        message.TYPE
        for message in expected
        if not any(
            takes(name, route) and type(message) in lane.handlers
            for name, lane in lanes.items()
            for route in routes(message)
        )
    ]

    assert lost == []


def test_every_binding_names_an_exchange_of_the_table() -> None:
    for known in (*SHARED, queue("node.node1")):
        assert {exchange for exchange, _ in known.bindings} <= set(EXCHANGES)


@pytest.mark.parametrize("name", ["", "nodes", "node.", "lease", "suspects", "hub"])
def test_a_queue_that_nobody_declared_has_no_name_here(name: str) -> None:
    with pytest.raises(Terminal, match="no queue is called"):
        queue(name)


def _asked(message: Message) -> bool:
    return message.TYPE.rpartition(".v")[0] in REQUESTS
