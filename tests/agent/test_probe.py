"""What counts as proof that a notebook answers as one lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from workers.agent import probe


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[min(len(asked), len(answers)) - 1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def http(status: str, body: str, *, length: bool = True) -> bytes:
    head = f"Content-Length: {len(body)}\r\n" if length else ""
    return f"HTTP/1.1 {status}\r\n{head}\r\n{body}".encode()


GOOD = http("200 OK", '{"version": "2.15.0"}')


async def test_jupyters_version_at_the_prefix_is_proof() -> None:
    async with answering(GOOD) as (port, asked):
        await probe.ask("127.0.0.1", port, "/user/älice/")

    assert asked[0].startswith(b"GET /user/%C3%A4lice/api HTTP/1.1\r\n")


async def test_an_answer_without_a_length_is_read_to_its_end() -> None:
    async with answering(http("200 OK", '{"version": "2"}', length=False)) as (port, _):
        await probe.ask("127.0.0.1", port, "/")


@pytest.mark.parametrize(
    "answer",
    [
        http("404 Not Found", '{"version": "2"}'),
        http("302 Found", '{"version": "2"}'),
        http("503 Service Unavailable", ""),
        http("200 OK", "<html>Welcome</html>"),
        http("200 OK", '{"message": "hello"}'),
        http("200 OK", '{"version": 3}'),
        http("200 OK", "[]"),
        b"",
        b"\x00\x01\x02",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000,
    ],
)
async def test_nothing_else_is_proof(answer: bytes) -> None:
    async with answering(answer) as (port, _):
        with pytest.raises(probe.NotServing):
            await probe.ask("127.0.0.1", port, "/user/alice/")


async def test_a_server_that_is_not_ready_yet_is_asked_again() -> None:
    async with answering(http("503 No", ""), http("404 No", ""), GOOD) as (port, asked):
        await probe.until_it_answers("127.0.0.1", port, "/user/alice/", seconds=60)

    assert len(asked) == 3


async def test_giving_up_says_what_answered_last() -> None:
    async with answering(http("404 Not Found", "")) as (port, _):
        with pytest.raises(probe.NotServing, match="404"):
            await probe.until_it_answers("127.0.0.1", port, "/user/alice/", seconds=1)
