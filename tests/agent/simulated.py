"""An engine of dictionaries, and what can go wrong with one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from controlplane.clients.docker import Facts, Happening, Image, Listed, Seen
from controlplane.errors import Conflict, Unavailable


class SimulatedEngine:
    """`Engine`. `away` makes every call fail; `silent_stream` loses every event."""

    def __init__(self) -> None:
        self.containers: dict[str, Seen] = {}
        self.away = False
        self.silent_stream = False
        self.busy_removals = 0
        self.removed: list[str] = []
        self._events: asyncio.Queue[Happening] = asyncio.Queue()
        self._clock = 0

    def has(self, name: str, labels: Mapping[str, str]) -> Seen:
        """A container that runs."""
        seen = Seen(id=name, labels=labels, state="running")
        self.containers[name] = seen
        return seen

    def dies(self, name: str, *, exit_code: int = 1, out_of_memory: bool = False) -> None:
        seen = self.containers[name]
        self.containers[name] = replace(
            seen, state="exited", exit_code=exit_code, out_of_memory=out_of_memory
        )
        if not self.silent_stream:
            self._clock += 1
            event = Happening(action="die", container=name, labels=seen.labels, at=self._clock)
            self._events.put_nowait(event)

    async def facts(self) -> Facts:
        self._must_answer()
        return Facts(version="simulated", cpus=2, cpu_quota=True, rootless=False)

    async def image(self, name: str) -> Image | None:
        self._must_answer()
        return Image(id="sha256:1", user="1000", directory="/")

    async def ensure_network(self, name: str, config: Mapping[str, Any]) -> None:
        self._must_answer()

    async def remove_network(self, name: str) -> None:
        self._must_answer()

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        self._must_answer()
        if name in self.containers:
            raise Conflict(name)
        return self.has(name, config["Labels"]).id

    async def start(self, container: str) -> None:
        self._must_answer()

    async def inspect(self, container: str) -> Seen | None:
        self._must_answer()
        return self.containers.get(container)

    async def list(self, labels: Mapping[str, str]) -> list[Listed]:
        self._must_answer()
        return [
            Listed(id=seen.id, labels=seen.labels, state=seen.state)
            for seen in self.containers.values()
            if all(seen.labels.get(name) == value for name, value in labels.items())
        ]

    async def set_cpu_shares(self, container: str, shares: int) -> None:
        self._must_answer()

    async def stop(self, container: str, *, seconds: int) -> None:
        self._must_answer()

    async def remove(self, container: str) -> None:
        self._must_answer()
        if self.busy_removals:
            self.busy_removals -= 1
            raise Conflict("removal in progress")
        self.removed.append(container)
        self.containers.pop(container, None)

    async def log_tail(self, container: str, *, lines: int) -> bytes:
        self._must_answer()
        return b"last words"

    async def events(
        self, labels: Mapping[str, str], *, since: int
    ) -> AsyncGenerator[Happening, None]:
        self._must_answer()
        while True:
            yield await self._events.get()

    async def close(self) -> None:
        """Nothing to let go of."""

    def _must_answer(self) -> None:
        if self.away:
            raise Unavailable("the engine is away")
