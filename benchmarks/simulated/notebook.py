"""One simulated notebook: the container's side of docs/container.md, without a process.

It listens on its unix socket, takes one activation in its life, and from then on answers
`<prefix>api` on its published port. Its three ends are those of the real one: told to stop,
three refused messages, a rehearsal that is over.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.simulated.ledger import Activation, Ledger

LONGEST_ORDER = 128 * 1024
SILENT_SECONDS = 30.0
REFUSALS = 3
REFUSED_TOO_OFTEN = 69
TERMINATED_WARM = 143
# As long as a real list: the agent reads, checks and copies it.
RECORD = {"modules": [f"simulated.module_{n}" for n in range(1500)], "python": "3.11"}


class NotAnActivation(Exception):
    """What the notebook refuses, in its own words."""


class Notebook:
    """`port` is bound and does not listen: nothing answers there before the activation."""

    def __init__(
        self,
        notebook: str,
        *,
        run: Path,
        port: socket.socket | None,
        ledger: Ledger,
        ended: Callable[[int], None],
    ) -> None:
        self.notebook = notebook
        self.lease = ""
        self._run = run
        self._port = port
        self._ledger = ledger
        self._ended = ended
        self._refusals = 0
        self._turn = asyncio.Lock()
        self._channel: asyncio.Server | None = None
        self._http: asyncio.Server | None = None
        self._api = ""

    async def warm(self) -> None:
        """Listen on the socket: from here on it is warm."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        # As in the agent: a path may be longer than a socket's address holds.
        folder = os.open(self._run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
        self._channel = await asyncio.start_unix_server(
            self._on_channel, sock=listener, limit=LONGEST_ORDER
        )

    def close(self) -> None:
        """Its process is gone: everything that it had open is closed."""
        for server in (self._channel, self._http):
            if server is not None:
                server.close()
        if self._port is not None:
            self._port.close()

    def exit_code_when_told(self) -> int:
        """What SIGTERM makes of it: a server that runs shuts down well."""
        return 0 if self.lease else TERMINATED_WARM

    async def _on_channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._turn:
                if not self.lease:
                    await self._converse(reader, writer)
        except (OSError, TimeoutError):
            pass  # who asked has gone, or said nothing
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = {"greenroom": 1, "notebook": self.notebook, "state": "warm"}
        await _say(writer, {**hello, "modules": len(RECORD["modules"]), "warm_ms": 0.1})
        async with asyncio.timeout(SILENT_SECONDS):
            raw = await _all_that_is_said(reader)
        if not raw:
            return  # the agent only looked whether it is warm
        try:
            order = checked(raw, self.notebook)
        except NotAnActivation as error:
            return await self._refuse(writer, str(error))
        await self._accept(writer, order)

    async def _accept(self, writer: asyncio.StreamWriter, order: dict[str, Any]) -> None:
        self.lease = order["lease"]
        self._ledger.write(Activation(notebook=self.notebook, lease=self.lease))
        assert self._channel is not None
        self._channel.close()
        with suppress(FileNotFoundError):
            (self._run / "socket").unlink()
        await _say(writer, {"accepted": self.lease})
        url = order["environment"].get("JUPYTERHUB_SERVICE_URL", "http://0.0.0.0/")
        self._api = f"{urlsplit(url).path}api"
        if self._port is not None:
            self._http = await asyncio.start_server(self._on_http, sock=self._port)
        stages = {"prepare": 0.0, "initialise": 0.0, "loop": 0.0}
        await _say(writer, {"serving": self.lease, "stages": stages, "cpu_ms": 0.0})

    async def _refuse(self, writer: asyncio.StreamWriter, reason: str) -> None:
        self._ledger.write(Activation(notebook=self.notebook, lease="", refused=reason))
        self._refusals += 1
        await _say(writer, {"refused": reason})
        if self._refusals >= REFUSALS:
            self._ended(REFUSED_TOO_OFTEN)

    async def _on_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            words = head.split(b" ", 2)
            known = len(words) == 3 and words[1].decode("latin-1") == self._api
            status, body = ("200 OK", '{"version": "0"}') if known else ("404 Not Found", "{}")
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone or speaks no HTTP
        finally:
            writer.close()


def rehearse(run: Path) -> None:
    """Leave the record, whole or not at all."""
    new = run / "record.json.new"
    new.write_text(json.dumps(RECORD))
    new.replace(run / "record.json")


def checked(raw: bytes, notebook: str) -> dict[str, Any]:
    """The activation in these bytes, or `NotAnActivation`."""
    line, newline, rest = raw.partition(b"\n")
    if not newline or len(line) >= LONGEST_ORDER:
        raise NotAnActivation("the message is too long or has no newline at its end")
    if rest:
        raise NotAnActivation("more than one message")
    try:
        order = json.loads(line)["activate"]
        environment = order["environment"]
        texts = [order["lease"], order["directory"], *order["arguments"], *environment.values()]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise NotAnActivation("not an activation") from None
    if not all(isinstance(text, str) for text in [*texts, *environment]):
        raise NotAnActivation("a field has the wrong type")
    if any(not name or "=" in name or "\0" in name for name in environment):
        raise NotAnActivation("a name that no variable can have")
    if order.get("notebook") != notebook:
        raise NotAnActivation("an activation of another notebook")
    return dict(order)


async def _all_that_is_said(reader: asyncio.StreamReader) -> bytes:
    raw = b""
    while b"\n" not in raw and len(raw) <= LONGEST_ORDER:
        more = await reader.read(LONGEST_ORDER)
        if not more:
            break
        raw += more
    return raw


async def _say(writer: asyncio.StreamWriter, said: dict[str, Any]) -> None:
    writer.write(json.dumps(said).encode() + b"\n")
    await writer.drain()
