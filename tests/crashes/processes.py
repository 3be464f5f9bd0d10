"""The nursery from outside: processes that are started, watched and killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from benchmarks.lease_stage import own_mounts

ROOT = Path(__file__).parents[2]
# Far beyond any machine's bad day; nothing waits for it to pass.
DEADLINE_SECONDS = 120


class Process:
    """One process of the nursery's. `code` is None while it lives."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self.code: int | None = None
        self.ended = asyncio.Event()

    def told(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self.code is None:
                os.kill(self.pid, number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.over()

    async def over(self) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self.ended.wait()
        except TimeoutError:
            raise AssertionError(f"it lives on:\n{self.told()[-6000:]}") from None


class Nursery:
    """The forking parent, and all that it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parent: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._waiting: dict[int, tuple[Path, asyncio.Future[Process]]] = {}
        self._living: dict[int, Process] = {}
        self._number = 0

    async def open(self) -> None:
        self._parent = await asyncio.create_subprocess_exec(
            *(*own_mounts(), sys.executable, "-m", "tests.crashes.nursery"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        self._listening = asyncio.create_task(self._listen())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._ready.wait()

    @property
    def mounts(self) -> str:
        """What is mounted where these processes live."""
        assert self._parent is not None
        return Path(f"/proc/{self._parent.pid}/mountinfo").read_text()

    async def start(
        self, name: str, module: str, *arguments: str, environment: dict[str, str]
    ) -> Process:
        assert self._parent is not None
        assert self._parent.stdin is not None
        self._number += 1
        log = self._folder / f"{name}.{self._number}.log"
        order = {
            "number": self._number,
            "module": module,
            "arguments": arguments,
            "environment": environment,
            "log": str(log),
        }
        started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = (log, started)
        self._parent.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await started

    async def close(self) -> None:
        if self._parent is None or self._listening is None:
            return
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._parent.wait()
            await self._listening

    async def _listen(self) -> None:
        assert self._parent is not None
        assert self._parent.stdout is not None
        async for line in self._parent.stdout:
            said = json.loads(line)
            if "ready" in said:
                self._ready.set()
            elif "started" in said:
                log, started = self._waiting.pop(said["started"])
                self._living[said["pid"]] = Process(said["pid"], log)
                started.set_result(self._living[said["pid"]])
            else:
                ended = self._living.pop(said["ended"])
                ended.code = said["code"]
                ended.ended.set()
