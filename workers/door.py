"""/metrics and /healthz of one process, over plain asyncio: a web framework costs 15 MiB here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

REQUEST_SECONDS = 5.0
Health = Callable[[], dict[str, object]]


class Door:
    """A small HTTP server; `host` and `port` are where it really listens."""

    def __init__(self, server: asyncio.Server, health: Health) -> None:
        self._server = server
        self._health = health
        self.host, self.port = server.sockets[0].getsockname()[:2]

    @classmethod
    async def open(cls, host: str, port: int, *, health: Health) -> Door:
        """Listen; port 0 takes a free one."""
        door: Door

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await door._answer(reader, writer)

        door = cls(await asyncio.start_server(answer, host, port, limit=8192), health)
        return door

    async def close(self) -> None:
        """Listen no longer."""
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone or speaks no HTTP
        finally:
            writer.close()

    def _response(self, head: bytes) -> bytes:
        words = head.split(b" ", 2)
        path = words[1].partition(b"?")[0] if len(words) == 3 else b""
        if words[0] != b"GET":
            return _http(405, "text/plain", b"only GET\n")
        if path == b"/healthz":
            return _http(200, "application/json", json.dumps(self._health()).encode() + b"\n")
        if path == b"/metrics":
            return _http(200, CONTENT_TYPE_LATEST, generate_latest())
        return _http(404, "text/plain", b"here are /healthz and /metrics\n")


def _http(status: int, content_type: str, body: bytes) -> bytes:
    reason = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}[status]
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
