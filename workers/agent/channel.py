"""The agent's end of a warm notebook's socket (`docs/container.md`).

The socket is reached through a handle: its path may be longer than the 107 bytes that a socket
address holds, and what lies there may be a link. What comes back is a container's word and is
bounded in size and time; after activation nothing in that directory is trusted or looked at.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.errors import Refused, Retry
from workers.agent import syscalls

LONGEST_LINE = 16 * 1024
LONGEST_ORDER = 128 * 1024


class NotListening(Retry):
    """Nobody listens: not warm yet, activated already, or dead."""


class HungUp(Retry):
    """The other side closed the channel in the middle of it."""


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What a warm notebook says; uid and gid are the kernel's word for who says it."""

    notebook: str
    warm_ms: float
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Served:
    """The server's loop runs. Milliseconds by stage, and what it cost."""

    stages: dict[str, float]
    cpu_ms: float
    cold: str


class Channel:
    """One connection to a notebook's socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def hello(self, notebook: str) -> Hello:
        """Its hello; `Refused` if it is another notebook's."""
        said = await self._line()
        if said.get("greenroom") != 1 or said.get("notebook") != notebook:
            raise Refused(f"the channel of {notebook} speaks for {str(said)[:200]}")
        peer = self._writer.get_extra_info("socket")
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, uid, gid = struct.unpack("3i", credentials)
        warm_ms = said.get("warm_ms")
        known = float(warm_ms) if isinstance(warm_ms, int | float) else 0.0
        return Hello(notebook=notebook, warm_ms=known, uid=uid, gid=gid)

    async def order(self, line: bytes) -> None:
        """Send the one order and wait until it is accepted. `Refused` with its reason."""
        self._writer.write(line)
        await self._writer.drain()
        # The hello was said before the order was read.
        await self._line()
        said = await self._line()
        if "refused" in said:
            raise Refused(f"the notebook refused: {str(said['refused'])[:500]}")
        if "accepted" not in said:
            raise Refused(f"the notebook did not accept: {str(said)[:500]}")

    async def served(self, lease: str) -> Served:
        """Wait until the server runs. `Refused` with the reason if it failed."""
        said = await self._line()
        if said.get("serving") != lease:
            raise Refused(str(said.get("reason") or said)[:1500])
        stages = said.get("stages")
        return Served(stages=_numbers(stages), cpu_ms=_number(said), cold=str(said.get("cold", "")))

    async def _line(self) -> dict[str, Any]:
        try:
            raw = await self._reader.readline()
            said = json.loads(raw) if raw.endswith(b"\n") else None
        except (ValueError, OSError) as error:
            raise HungUp(f"the notebook said what is no line of JSON: {error!r}"[:300]) from None
        if not isinstance(said, dict):
            raise HungUp("the notebook hung up")
        return said


def activation(
    lease: str,
    notebook: str,
    *,
    environment: dict[str, str],
    arguments: tuple[str, ...],
    directory: str,
    identity: dict[str, Any] | None = None,
) -> bytes:
    """The one order, as the line that travels. `Refused` if it is too long."""
    order = {
        "lease": lease,
        "notebook": notebook,
        "environment": environment,
        "arguments": list(arguments),
        "directory": directory,
        **({"identity": identity} if identity else {}),
    }
    line = json.dumps({"activate": order}).encode() + b"\n"
    if len(line) > LONGEST_ORDER:
        raise Refused(f"the activation is {len(line)} bytes, a notebook takes {LONGEST_ORDER}")
    return line


@asynccontextmanager
async def connect(run: Path) -> AsyncIterator[Channel]:
    """The channel of the notebook whose private directory this is, or `NotListening`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        place = _open_socket(run)
        try:
            # A unix connect does not wait, but for a full backlog.
            await asyncio.get_running_loop().sock_connect(connection, f"/proc/self/fd/{place}")
        finally:
            os.close(place)
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LONGEST_LINE)
    except OSError as error:
        connection.close()
        raise NotListening(f"nobody listens in {run}: {error.strerror}") from None
    try:
        yield Channel(reader, writer)
    finally:
        writer.close()


def _open_socket(run: Path) -> int:
    """The socket itself: whoever may write there could make a link to another one of the node."""
    folder = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.open_beneath(folder, "socket", directory=False)
    finally:
        os.close(folder)


def _numbers(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    return {
        str(name)[:40]: float(number)
        for name, number in list(value.items())[:8]
        if isinstance(number, int | float)
    }


def _number(said: dict[str, Any]) -> float:
    value = said.get("cpu_ms")
    return float(value) if isinstance(value, int | float) else 0.0
