"""docs/install.md from the units' first command to the first warm notebook.

The services, the engine and the image are those that tests are given; every command, setting,
unit and line of the pools file is the page's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aio_pika
import pytest

from controlplane.clients.rabbitmq.topology import EXCHANGES, SHARED
from tests.docs.machine import Machine
from tests.docs.test_install import UNITS, blocks, commands, section

pytestmark = [pytest.mark.engine, pytest.mark.services]

COMMAND_SECONDS = 300
WARM_SECONDS = 300
STOP_SECONDS = 60
GREENROOM = [sys.executable, "-c", "from controlplane.cli import main; main()"]


class Followed:
    """One machine that was set up, and its programs."""

    def __init__(self, machine: Machine, settings: dict[str, str], folder: Path) -> None:
        self._environment = {**os.environ, **settings}
        self._environment["GREENROOM_CONFIG"] = str(machine.etc / "greenroom.toml")
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        self.pools = machine.etc / "pools.toml"
        self.units = machine.units

    def type(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A command as it stands, with our programs for those in /opt/greenroom."""
        return subprocess.run(
            self._program(words),
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def start(self, words: list[str]) -> None:
        with (self._folder / f"{words[-1]}.log").open("wb") as log:
            process = subprocess.Popen(
                self._program(words),
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)

    def logs(self) -> str:
        """The last words of each, for whoever reads a failure."""
        return "\n".join(
            f"{log.name}: {log.read_text()[-1500:]}" for log in self._folder.glob("*.log")
        )

    def stop(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def started_by(self, unit: str, instance: str = "") -> list[list[str]]:
        lines = (self.units / unit).read_text().splitlines()
        started = [line.partition("=")[2] for line in lines if line.startswith("ExecStart=")]
        return [shlex.split(line.replace("%i", instance)) for line in started]

    def _program(self, words: list[str]) -> list[str]:
        if Path(words[0]).name == "greenroom":
            return [*GREENROOM, *words[1:]]
        assert Path(words[0]).name == "python", words
        return [sys.executable, *words[1:]]


@pytest.fixture
async def _no_queues_stay(amqp_url: str, installation: str) -> AsyncIterator[None]:
    yield
    connection = await aio_pika.connect(amqp_url, timeout=30)
    async with connection, connection.channel() as channel:
        for name in (*(queue.name for queue in SHARED), "node.first"):
            await channel.queue_delete(f"{installation}.{name}")
        for name in EXCHANGES:
            await channel.exchange_delete(f"{installation}.{name}")


@pytest.fixture
def followed(
    tmp_path: Path,
    amqp_url: str,
    postgres_url: str,
    redis_url: str,
    docker_host: str,
    installation: str,
    _no_queues_stay: None,
) -> Iterator[Followed]:
    machine = Machine(tmp_path / "machine")
    done = machine.setup("control", "node", "127.0.0.1")
    assert done.returncode == 0, done.stderr
    settings = {
        "GREENROOM_AMQP_URL": amqp_url,
        "GREENROOM_POSTGRES_URL": postgres_url,
        "GREENROOM_REDIS_URL": redis_url,
        "GREENROOM_INSTALLATION": installation,
        "GREENROOM_NODE__NAME": "first",
        "GREENROOM_NODE__DOCKER_HOST": docker_host,
        "GREENROOM_NODE__STATE_DIR": str(tmp_path / "state"),
    }
    folder = tmp_path / "programs"
    folder.mkdir()
    followed = Followed(machine, settings, folder)
    try:
        yield followed
    finally:
        followed.stop()
        wiped = followed.type(["python", "-m", "workers.agent.wipe"])
        assert wiped.returncode == 0, wiped.stderr


def page_s(name: str) -> list[str]:
    """The page's command for one node that begins so."""
    (line,) = [line for line in commands(section("One node")) if line.startswith(name)]
    return shlex.split(line)


def with_pools(words: list[str], pools: Path) -> list[str]:
    return [str(pools) if word == "/etc/greenroom/pools.toml" else word for word in words]


async def test_the_page_leads_to_a_warm_notebook(
    followed: Followed, image: str, tmp_path: Path
) -> None:
    homes = tmp_path / "homes"
    (homes / "ann").mkdir(parents=True)
    (pools,) = blocks(section("One node"), "toml")
    pools = pools.replace("REGISTRY/lab:2026-03", image).replace("/srv/homes", str(homes))
    followed.pools.write_text(pools.replace("warm = 4", "warm = 1"))

    for words in followed.started_by("greenroom-schema.service"):
        done = await asyncio.to_thread(followed.type, words)
        assert done.returncode == 0, done.stderr
    setup = (UNITS.parent / "setup").read_text()
    (names,) = [line for line in setup.splitlines() if line.strip().startswith("for name in")]
    for name in names.partition(" in ")[2].removesuffix("; do").split():
        (words,) = followed.started_by("greenroom-worker@.service", name)
        followed.start(words)
    (words,) = followed.started_by("greenroom-agent.service")
    followed.start(words)
    apply = with_pools(page_s("greenroom pools apply"), followed.pools)
    applied = await asyncio.to_thread(followed.type, apply)

    assert applied.returncode == 0, applied.stderr
    await until_ready(followed)
    # There is no hub here to be asked.
    asked = page_s("greenroom doctor")
    asked = with_pools(asked[: asked.index("--hub")], followed.pools)
    doctor = await asyncio.to_thread(followed.type, [*asked, "-o", "json"])
    checks = json.loads(doctor.stdout)["checks"]
    assert [check for check in checks if check["level"] == "fail"] == []
    assert "on the agent's network" in next(c for c in checks if c["check"] == "isolation")["seen"]


async def until_ready(followed: Followed) -> None:
    """Ask as an admin would; from outside there is no event to await."""
    give_up = time.monotonic() + WARM_SECONDS
    words = ["greenroom", "pools", "list", "-o", "json"]
    while True:
        done = await asyncio.to_thread(followed.type, words)
        if done.returncode == 0 and json.loads(done.stdout)[0]["ready"] >= 1:
            return
        assert time.monotonic() < give_up, f"{done.stdout}\n{done.stderr}\n{followed.logs()}"
        await asyncio.sleep(0.5)
