"""The agent's end of the channel, against everything that may be at the other."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.errors import Refused
from workers.agent import channel

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(folder: Path, serve: Serve) -> AsyncIterator[None]:
    # Reached by a short name: pytest's folders are longer than a socket address.
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    server = await asyncio.start_unix_server(serve, f"/proc/self/fd/{handle}/socket")
    try:
        yield
    finally:
        server.close()
        os.close(handle)


def saying(*lines: bytes, after_order: bool = True) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(lines[0])
        if after_order:
            await reader.readline()
        for line in lines[1:]:
            writer.write(line)
        await writer.drain()
        writer.close()

    return serve


HELLO = b'{"greenroom": 1, "notebook": "n1", "state": "warm", "warm_ms": 12}\n'
ORDER = channel.activation("l1", "n1", environment={"A": "b"}, arguments=(), directory="/")


async def activated(connection: channel.Channel) -> channel.Served:
    await connection.order(ORDER)
    return await connection.served("l1")


async def test_a_notebook_says_who_it_is_and_the_kernel_says_whose(tmp_path: Path) -> None:
    async with (
        listening(tmp_path, saying(HELLO, after_order=False)),
        channel.connect(tmp_path) as c,
    ):
        hello = await c.hello("n1")

    assert (hello.notebook, hello.warm_ms) == ("n1", 12.0)
    assert (hello.uid, hello.gid) == (os.getuid(), os.getgid())


async def test_another_notebooks_hello_is_refused(tmp_path: Path) -> None:
    async with (
        listening(tmp_path, saying(HELLO, after_order=False)),
        channel.connect(tmp_path) as c,
    ):
        with pytest.raises(Refused, match="n2"):
            await c.hello("n2")


async def test_an_order_is_accepted_and_served(tmp_path: Path) -> None:
    served = {"serving": "l1", "stages": {"prepare": 1.5, "x": "no"}, "cpu_ms": 90}
    lines = (HELLO, b'{"accepted": "l1"}\n', json.dumps(served).encode() + b"\n")
    async with listening(tmp_path, saying(*lines)), channel.connect(tmp_path) as c:
        await c.order(ORDER)
        told = await c.served("l1")

    assert told == channel.Served(stages={"prepare": 1.5}, cpu_ms=90.0, cold="")


@pytest.mark.parametrize(
    ("lines", "error", "words"),
    [
        ((b'{"refused": "not yours"}\n',), Refused, "not yours"),
        ((b'{"accepted": "l1"}\n', b'{"failed": "l1", "reason": "no hub"}\n'), Refused, "no hub"),
        ((b'{"accepted": "l1"}\n', b'{"serving": "l2"}\n'), Refused, "l2"),
        ((b'{"accepted": "l1"}\n',), channel.HungUp, "hung up"),
        ((), channel.HungUp, "hung up"),
        ((b"[1]\n",), channel.HungUp, "hung up"),
        ((b"no json\n",), channel.HungUp, "no line of JSON"),
        ((b'{"accepted"',), channel.HungUp, "hung up"),
        ((b"x" * 100_000,), channel.HungUp, "no line of JSON"),
    ],
)
async def test_every_other_answer_is_an_error_with_its_reason(
    tmp_path: Path, lines: tuple[bytes, ...], error: type[Exception], words: str
) -> None:
    async with listening(tmp_path, saying(HELLO, *lines)), channel.connect(tmp_path) as c:
        with pytest.raises(error, match=words):
            await activated(c)


async def test_nobody_listening_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(channel.NotListening):
        async with channel.connect(tmp_path):
            pass
    with pytest.raises(channel.NotListening):
        async with channel.connect(tmp_path / "no-such-slot"):
            pass


async def test_a_link_to_another_socket_of_the_node_is_not_followed(tmp_path: Path) -> None:
    real, forged = tmp_path / "real", tmp_path / "forged"
    real.mkdir()
    forged.mkdir()
    (forged / "socket").symlink_to(real / "socket")

    async with listening(real, saying(HELLO, after_order=False)):
        async with channel.connect(real) as c:
            await c.hello("n1")
        with pytest.raises(channel.NotListening):
            async with channel.connect(forged):
                pass


def test_an_order_too_long_for_a_notebook_is_not_sent() -> None:
    with pytest.raises(Refused, match="131"):
        channel.activation(
            "l1", "n1", environment={"A": "b" * 131_072}, arguments=(), directory="/"
        )
