"""Simulated nodes as a process: orders over a real broker, two agents, one life of a notebook."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from benchmarks.lease_stage import own_mounts
from benchmarks.simulated import ledger
from controlplane.clients.rabbitmq import Broker, Delivery, command
from controlplane.messages import (
    ActivateNotebook,
    CreateNotebook,
    NodeHello,
    NotebookGone,
    Report,
    RetireNotebook,
    RunActivated,
    WarmupReady,
    decode,
)
from controlplane.model.pool import ContainerSpec, Storage
from controlplane.seal import Contents, Seal
from scripts.stack.places import CHECKOUT
from tests.agent.conftest import may_mount
from tests.agent.theatre import Reported, environment_of

KEY = Fernet.generate_key().decode()
BUDGET_MS = 220_000
DEADLINE_SECONDS = 120


@pytest.fixture
async def workers(amqp_url: str, installation: str) -> AsyncIterator[tuple[Broker, Reported]]:
    """Everybody who hears reports."""
    broker = await Broker.connect(amqp_url, installation=installation, source="test")
    reported = Reported()

    async def read(delivery: Delivery) -> None:
        message = decode(delivery.body).message
        assert isinstance(message, Report)
        await reported.publish(message)
        await delivery.ack()

    await broker.declare()
    for queue in ("lease.reports", "refill", "liveness"):
        await broker.consume(queue, read, prefetch=50)
    yield broker, reported
    await broker.close()


@pytest.fixture
async def nodes(
    amqp_url: str, installation: str, tmp_path: Path, workers: object
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Two of them, in one process; its log is shown when a test fails."""
    may_mount()
    told = {
        "GREENROOM_AMQP_URL": amqp_url,
        "GREENROOM_INSTALLATION": installation,
        "GREENROOM_SEAL_KEYS": KEY,
        "GREENROOM_NODE__STATE_DIR": str(tmp_path / "agents"),
    }
    command = [sys.executable, "-m", "benchmarks.simulated", "--first", "1", "--last", "2"]
    process = await asyncio.create_subprocess_exec(
        *own_mounts(),
        *command,
        "--ledger",
        str(tmp_path / "ledger.jsonl"),
        cwd=CHECKOUT,
        env={**os.environ, **told},
    )
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def test_a_notebook_lives_on_each_of_two_nodes_of_one_process(
    workers: tuple[Broker, Reported], nodes: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    lives = asyncio.create_task(both_live(*workers, tmp_path))
    ended = asyncio.create_task(nodes.wait())
    await asyncio.wait([lives, ended], return_when=asyncio.FIRST_COMPLETED)
    assert not ended.done(), f"the process ended by itself, with {ended.result()}"
    hellos, leases = await lives
    nodes.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        code = await ended

    assert len({hello.address for hello in hellos}) == 2
    assert [a.lease for a in ledger.read([tmp_path / "ledger.jsonl"])] == leases
    assert code == 0
    assert mounted_here(tmp_path) == []


async def both_live(
    broker: Broker, reported: Reported, folder: Path
) -> tuple[list[NodeHello], list[str]]:
    hellos = [
        await reported.wait(NodeHello, fits=lambda hello, name=name: hello.node == name)
        for name in ("node1", "node2")
    ]
    return hellos, [await live(broker, reported, hello, folder) for hello in hellos]


def mounted_here(folder: Path) -> list[str]:
    """What of that process' mounts this one sees."""
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]


async def live(broker: Broker, reported: Reported, hello: NodeHello, folder: Path) -> str:
    """Create, activate and retire one notebook there; the lease that had it."""
    homes = folder / "homes"
    homes.mkdir(exist_ok=True)
    spec = ContainerSpec(image="simulated", storage=Storage(root=str(homes), create_missing=True))
    create = CreateNotebook(
        notebook=str(uuid4()),
        pool="bench",
        revision=1,
        spec_hash=spec.hash(),
        spec=spec,
        epoch=hello.epoch,
        budget_ms=BUDGET_MS,
    )
    await broker.publish(create, command(hello.node))
    ready = await reported.wait(WarmupReady, fits=lambda r: r.notebook == create.notebook)
    activate = activation(create.notebook, hello)
    await broker.publish(activate, command(hello.node))
    activated = await reported.wait(RunActivated, fits=lambda r: r.lease == activate.lease)
    retire = RetireNotebook(notebook=create.notebook, epoch=hello.epoch, reason="stopped")
    await broker.publish(retire, command(hello.node))
    await reported.wait(NotebookGone, fits=lambda r: r.notebook == create.notebook)
    assert activated.url == ready.url
    assert hello.address in activated.url
    return activate.lease


def activation(notebook: str, hello: NodeHello) -> ActivateNotebook:
    about = {
        "lease": str(uuid4()),
        "hub": "hub1",
        "user": f"user-of-{hello.node}",
        "server": "",
        "prefix": "/user/somebody/",
    }
    contents = {
        **about,
        "expires_at": datetime.now(UTC) + timedelta(minutes=10),
        "environment": environment_of(about["user"], about["prefix"], "http://192.0.2.1/hub/"),
    }
    sealed = Seal([KEY]).close(Contents.model_validate(contents))
    order = {"notebook": notebook, "attempt": 1, "epoch": hello.epoch, "budget_ms": BUDGET_MS}
    return ActivateNotebook.model_validate({**about, **order, "sealed": sealed})
