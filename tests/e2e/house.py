"""A whole Greenroom for tests: the demo's programs in a directory of their own.

Same code as `scripts/up`, on the services and the engine that `scripts/test` gives.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from scripts.stack import commands, demo, engine, ports, processes, proof
from scripts.stack.places import Place
from scripts.stack.services import Urls
from scripts.stack.up import settle

PATIENCE_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class House:
    """One running installation, and what tests do to it."""

    stack: demo.Demo

    @property
    def url(self) -> str:
        return self.stack.url

    def start_all(self) -> None:
        for program in self.stack.programs():
            self.stack.start(program)

    def stop_all(self) -> None:
        for name in reversed(demo.ALL):
            processes.stop(self.stack.place, name)

    def kill(self, name: str) -> None:
        """As a power cut would: no chance to say goodbye."""
        running = processes.known(self.stack.place, name)
        assert running is not None
        assert running.alive, f"{name} was not running"
        # The hub's services are in sessions of their own and would outlive it.
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
        os.killpg(running.pid, signal.SIGKILL)
        for child in children.split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def start(self, name: str) -> None:
        program = next(p for p in self.stack.programs() if p.name == name)
        self.stack.start(program)

    def ask(self, *words: str) -> Any:
        """What the operator's command answers, as JSON."""
        told = commands.read(
            [self.stack.environment.program("greenroom"), *words, "-o", "json"],
            environment=self.stack.settings(),
        )
        assert told, f"greenroom {' '.join(words)} failed"
        return json.loads(told)

    def log(self, name: str) -> str:
        return (self.stack.place.log / f"{name}.log").read_text()

    async def until(self, true: Callable[[], Any], what: str) -> Any:
        """Ask until it is so; a deadline, because there is no event to await from outside."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (answer := await asyncio.to_thread(true)):
            assert time.monotonic() < give_up, f"{what}: not within {PATIENCE_SECONDS} s"
            await asyncio.sleep(0.3)
        return answer

    async def warm(self, count: int) -> None:
        """Wait until so many notebooks are ready."""
        await self.until(lambda: self.counted("ready") >= count, f"{count} warm notebooks")

    def counted(self, phase: str) -> int:
        """Notebooks in this phase, as `greenroom status` tells."""
        pools = self.ask("pools", "list")
        return sum(int(pool.get(phase) or 0) for pool in pools)

    def containers(self) -> list[str]:
        """The engine's containers of this installation, any state."""
        told = commands.read(
            [
                "docker", "-H", self.stack.docker_host, "ps", "-aq", "--filter",
                f"label=greenroom.installation={self.stack.installation}",
            ]
        )  # fmt: skip
        return (told or "").split()

    @asynccontextmanager
    async def visit(self, user: str, server: str = "") -> AsyncIterator[proof.Visit]:
        """One person's dealings with the hub; their server is stopped afterwards."""
        async with proof.visiting(self.stack.token) as session:
            visit = proof.Visit(session, self.url, user, server)
            await visit.make_user()
            try:
                yield visit
            finally:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await visit.stop_server()

    async def get(self, path: str) -> tuple[int, str]:
        """An authorised GET below the hub's public address."""
        async with (
            proof.visiting(self.stack.token) as session,
            session.get(self.url + path, timeout=aiohttp.ClientTimeout(total=60)) as answer,
        ):
            return answer.status, await answer.text()


def prepare(directory: Path, *, urls: Urls, docker_host: str, warm: int, maximum: int) -> House:
    """Migrate, declare, apply the pool: everything before the first program starts."""
    place = Place(directory=directory).make()
    stack = demo.Demo(
        place=place,
        urls=urls,
        docker_host=docker_host,
        gateway=engine.bridge_gateway(docker_host),
        hub_port=ports.port_for(place, "public"),
    )
    # For `remove_containers`, which has to find them again.
    place.remember("demo.json", {"docker_host": docker_host})
    pools = demo.pools_file(stack, warm=warm, maximum=maximum)
    settle(stack, pools)
    return House(stack=stack)
