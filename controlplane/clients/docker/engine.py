"""What an agent asks of a Docker engine. A simulated engine keeps the same promises.

Errors of every call: `Unavailable` (no answer in time, engine down, 5xx), `Conflict` (409:
a removal in progress, a name in use), `Refused` (the engine understood and said no).
A container that does not exist is a value (`None`, or nothing to do), never an error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

# `unknown` is every state that we have never heard of. It is never taken for an end.
State = Literal["created", "running", "exited", "removing", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the engine says of itself."""

    version: str
    cpus: int
    cpu_quota: bool
    rootless: bool
    # For people: `greenroom doctor` shows them.
    cgroup: str = ""
    live_restore: bool = False


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that is on the node. `user` as the image says it, "" for root."""

    id: str
    user: str
    directory: str
    entry_point: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One line of the engine's list."""

    id: str
    labels: Mapping[str, str]
    state: State


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One container, inspected. `exit_code` only when it ran and ended."""

    id: str
    labels: Mapping[str, str]
    state: State
    exit_code: int | None = None
    out_of_memory: bool = False
    error: str = ""
    address: str = field(default="", metadata={"about": "on its own network"})
    # Its first process on the node; 0 where the engine names none.
    pid: int = 0


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One event of the engine's stream: a hint. `at` is `timeNano`, the cursor."""

    action: str
    container: str
    labels: Mapping[str, str]
    at: int


class Engine(Protocol):
    """One node's engine."""

    async def facts(self) -> Facts:
        """What the engine says of itself."""

    async def image(self, name: str) -> Image | None:
        """The image, if it is on the node."""

    async def ensure_network(self, name: str, config: Mapping[str, Any]) -> None:
        """Make this network unless there is one; `Refused` if that one has other labels."""

    async def remove_network(self, name: str) -> None:
        """Remove it; one that does not exist is removed."""

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """The new container's id. `Conflict`: the name is taken."""

    async def start(self, container: str) -> None:
        """Start it; one that runs is started. `Conflict`: its published port is taken."""

    async def inspect(self, container: str) -> Seen | None:
        """The container by id or name, or None."""

    async def list(self, labels: Mapping[str, str]) -> list[Listed]:
        """Every container with all of these labels, in any state."""

    async def set_cpu_shares(self, container: str, shares: int) -> None:
        """Change its weight while it runs."""

    async def stop(self, container: str, *, seconds: int) -> None:
        """Ask it to end, kill it after so many seconds. One that is not there is stopped."""

    async def remove(self, container: str) -> None:
        """Kill and remove it. `Conflict`: the engine is at it already, look again later."""

    async def log_tail(self, container: str, *, lines: int) -> bytes:
        """The last lines of stdout and stderr, as bytes; b"" if it does not exist."""

    def events(self, labels: Mapping[str, str], *, since: int) -> AsyncGenerator[Happening, None]:
        """The stream from `since` (nanoseconds) on; ends only with `Unavailable`."""

    async def close(self) -> None:
        """Let go of the connections."""
