"""Proof that a notebook answers as one lease: its own `<prefix>api`, on its published port.

JupyterHub takes any answer below 500 for a server, a 404 of somebody else's included. Here
only a 200 with Jupyter's version at that very prefix counts.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from controlplane.errors import Retry

LONGEST_ANSWER = 64 * 1024
AGAIN_SECONDS = 0.02


class NotServing(Retry):
    """What answers there is not this lease's server, or nothing does."""


async def until_it_answers(host: str, port: int, prefix: str, *, seconds: float) -> None:
    """Return once `<prefix>api` proves itself; `NotServing` after so many seconds."""
    last = NotServing("no answer")
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await ask(host, port, prefix)
                except NotServing as error:
                    last = error
                await asyncio.sleep(AGAIN_SECONDS)
    except TimeoutError:
        raise NotServing(f"{prefix}api on port {port}: {last}") from None


async def ask(host: str, port: int, prefix: str) -> None:
    """Ask once."""
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=LONGEST_ANSWER)
    except OSError as error:
        raise NotServing(f"cannot connect: {error.strerror or error}") from None
    try:
        writer.write(_question(host, port, prefix))
        raw = await reader.read(LONGEST_ANSWER)
        while not _whole(raw):
            more = await reader.read(LONGEST_ANSWER)
            if not more or len(raw) > LONGEST_ANSWER:
                break
            raw += more
    except (OSError, ValueError) as error:
        raise NotServing(f"the connection broke: {error}") from None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    _judge(raw)


def _question(host: str, port: int, prefix: str) -> bytes:
    # The prefix has no white space (`Prefix`), and what is not ASCII travels escaped.
    path = "".join(c if c.isascii() else _percent(c) for c in f"{prefix}api")
    name = f"[{host}]" if ":" in host else host
    return (
        f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nAccept: application/json\r\n"
        "User-Agent: greenroom-agent\r\nConnection: close\r\n\r\n"
    ).encode()


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _whole(raw: bytes) -> bool:
    head, _, body = raw.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = line.partition(b":")[2].strip()
            return not length.isdigit() or len(body) >= int(length)
    return False


def _judge(raw: bytes) -> None:
    head, _, body = raw.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0]
    if not status.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        raise NotServing(f"answered {status[:80].decode('latin-1')!r}, not 200")
    try:
        said = json.loads(body)
    except ValueError:
        raise NotServing("answered 200 with what is no JSON") from None
    if not (isinstance(said, dict) and isinstance(said.get("version"), str)):
        raise NotServing("answered 200 without Jupyter's version")
