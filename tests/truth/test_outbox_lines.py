"""The outbox has a line for what a queue is bound to, and for nothing else."""

from __future__ import annotations

import re

import pytest

from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq.topology import SHARED
from controlplane.model.phases import LeasePhase, NodeState, NotebookPhase
from tests.truth import stage
from tests.truth.conftest import Owner

MOVES = [
    *(("notebook", phase.value) for phase in NotebookPhase),
    *(("lease", phase.value) for phase in LeasePhase),
    *(("node", state.value) for state in NodeState),
    ("pool", "applied"),
    ("pool", "removed"),
]


def bound(entity: str, phase: str) -> bool:
    """Whether the broker would put such an event into a queue of ours."""
    keys = [key for queue in SHARED for exchange, key in queue.bindings if exchange == "events"]
    patterns = (key.replace(".", r"\.").replace(r"\.#", r"(\..*)?") for key in keys)
    return any(re.fullmatch(each, f"event.{entity}.{phase}.about") for each in patterns)


@pytest.mark.parametrize(("entity", "phase"), MOVES, ids=lambda value: value)
def test_a_line_is_written_where_a_queue_is_bound(owner: Owner, entity: str, phase: str) -> None:
    heard = owner.run("select is_heard(%s, %s)", entity, phase)

    assert heard == [(bound(entity, phase),)]


async def test_a_whole_start_writes_one_line(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    ready = await stage.warm(postgres)
    owner.run("delete from outbox")
    granted = await postgres.leases.request(stage.ask(), ready)

    await postgres.leases.serve(stage.activated(granted))

    lines = await postgres.outbox.take()
    assert [(line.entity, line.phase, line.key) for _, line in lines] == [
        ("notebook", "leased", ready)
    ]
