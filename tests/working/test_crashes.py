"""Processes that are killed by what they read, and processes that are told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from controlplane.clients.rabbitmq import Broker, command
from tests.working.child import POISONED
from tests.working.conftest import DEADLINE, Inbox, happens, in_quarantine, retire

ROOT = Path(__file__).parents[2]


class House:
    """Starts worker processes of one test and reads what they wrote."""

    def __init__(self, amqp_url: str, installation: str, directory: Path) -> None:
        self.diary = directory / "diary"
        self.release = directory / "release"
        self.diary.touch()
        self._running: list[asyncio.subprocess.Process] = []
        self._environment = os.environ | {
            "GREENROOM_AMQP_URL": amqp_url,
            "GREENROOM_INSTALLATION": installation,
            "GREENROOM_HTTP_PORT": "0",
        }

    async def start(self, kind: str) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.working.child", kind, str(self.diary), str(self.release)),
            cwd=ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
        )
        self._running.append(child)
        return child

    async def restart_until(self, kind: str, fact: Callable[[], bool]) -> int:
        """What systemd would do: start it again whenever it dies; how often it died."""
        deaths = 0
        while True:
            child = await self.start(kind)
            enough = asyncio.create_task(happens(fact))
            ended = asyncio.create_task(child.communicate())
            await asyncio.wait({enough, ended}, return_when=asyncio.FIRST_COMPLETED)
            if enough.done():
                enough.result()
                await stop(child, ended)
                return deaths
            enough.cancel()
            assert child.returncode == POISONED
            deaths += 1
            assert deaths < 20

    def lines(self) -> list[str]:
        return self.diary.read_text().splitlines()

    async def close(self) -> None:
        for child in self._running:
            if child.returncode is None:
                child.kill()
                await child.communicate()


async def stop(child: asyncio.subprocess.Process, ended: asyncio.Task[object]) -> None:
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE):
        await ended
    assert child.returncode in {0, POISONED}


@pytest.fixture
async def house(
    amqp_url: str, installation: str, broker: Broker, tmp_path: Path
) -> AsyncIterator[House]:
    house = House(amqp_url, installation, tmp_path)
    yield house
    await house.close()


async def test_a_message_that_kills_its_reader_ends_in_quarantine_and_harms_no_neighbour(
    house: House, broker: Broker
) -> None:
    neighbours = {f"n{number}" for number in range(24)}
    for number, reason in enumerate(sorted(neighbours)):
        if number == 8:
            await broker.publish(retire("poison"), command("node1"))
        await broker.publish(retire(reason), command("node1"))

    aside = asyncio.create_task(in_quarantine(broker, 1))

    def over() -> bool:
        return aside.done() and neighbours <= set(house.lines())

    died, died_alone = await asyncio.gather(
        house.restart_until("main", over), house.restart_until("suspect", over)
    )

    assert (died, died_alone) == (1, 3)
    assert [(one.reason, one.queue) for one in await aside] == [("repeated", "node.node1")]
    assert house.lines().count("main poisoned") == 1
    assert house.lines().count("suspect poisoned") == 3


async def test_told_to_stop_a_process_finishes_what_it_has_in_hand_and_takes_nothing_new(
    house: House, broker: Broker
) -> None:
    child = await house.start("main")
    assert child.stdout is not None
    await broker.publish(retire("slow"), command("node1"))
    await happens(lambda: "slow begun" in house.lines())

    child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE):
        while b"process.draining" not in await child.stdout.readline():
            continue
    house.release.touch()
    async with asyncio.timeout(DEADLINE):
        await child.communicate()

    assert child.returncode == 0
    assert house.lines() == ["slow begun", "slow"]
    # It was acked: nothing is delivered but the marker.
    left = Inbox()
    await broker.consume("node.node1", left.put, prefetch=1)
    await broker.publish(retire("marker"), command("node1"))
    assert b"marker" in (await left.next()).body
