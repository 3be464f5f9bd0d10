"""`python -m workers lease` as a process of its own: it starts, dies, comes back and stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.messages import ActivateNotebook, LeaseServing
from tests.lease.actors import DEADLINE_SECONDS
from tests.lease.conftest import House
from tests.truth.stage import ask

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]


class Process:
    """One worker process. Its log is read to the end, so that it never waits for us."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[dict[str, object]] = []
        self._reading = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    @classmethod
    async def start(cls, name: str, house: House) -> Process:
        settings = house.settings
        environment = os.environ | {
            "GREENROOM_INSTALLATION": settings.installation,
            "GREENROOM_AMQP_URL": settings.amqp_url.get_secret_value(),
            "GREENROOM_POSTGRES_URL": settings.postgres_url.get_secret_value(),
            "GREENROOM_REDIS_URL": settings.redis_url.get_secret_value(),
            "GREENROOM_LOG_FORMAT": "json",
        }
        process = cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "workers", name),
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
                env=environment,
            )
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await process._reading.wait()
        return process

    async def ends(self, number: signal.Signals) -> int:
        """The exit code after this signal."""
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._task
            return await self.process.wait()

    def told(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.log if line["event"] == event]

    async def _follow(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"{"):
                self.log.append(json.loads(line))
            if self.told("process.reading"):
                self._reading.set()


@pytest.fixture
async def started(house: House) -> AsyncIterator[list[Process]]:
    """Whatever a test starts ends with it."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        if process.process.returncode is None:
            await process.ends(signal.SIGKILL)


async def test_who_clicks_while_no_worker_lives_is_served_by_the_next(
    house: House, started: list[Process]
) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.warm(4)
    started.append(await Process.start("lease", house))
    first, second = ask("ada"), ask("bob")
    await hub.asks(first)
    await hub.hears(LeaseServing, first.lease)

    killed = await started[0].ends(signal.SIGKILL)
    await hub.asks(second)
    started.append(await Process.start("lease", house))
    await hub.hears(LeaseServing, second.lease)
    stopped = await started[1].ends(signal.SIGTERM)

    assert (killed, stopped) == (-signal.SIGKILL, 0)
    assert [line["lease"] for line in started[1].told("lease.served")] == [second.lease]


async def test_a_worker_killed_in_a_burst_loses_nobody_and_doubles_nobody(
    house: House, started: list[Process]
) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(40)
    started.append(await Process.start("suspect", house))
    started.append(await Process.start("lease", house))
    requests = [ask(f"user{n}") for n in range(20)]

    await asyncio.gather(*(hub.asks(request) for request in requests))
    await agent.until(lambda: bool(agent.all(ActivateNotebook)))
    await started[1].ends(signal.SIGKILL)
    started.append(await Process.start("lease", house))
    for request in requests:
        await hub.hears(LeaseServing, request.lease)

    notebooks = {message.lease: message.notebook for message in hub.all(LeaseServing)}
    assert len(set(notebooks.values())) == 20
    assert agent.doubles == []
    assert await house.postgres.violations() == []
