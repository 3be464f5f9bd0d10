"""The client of the engine, against engines that answer badly, and against a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from controlplane.clients.docker import Docker, answers
from controlplane.errors import BadSettings, Conflict, Refused, Unavailable

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
VERSION = {"ApiVersion": "1.41", "Version": "20.10"}


@asynccontextmanager
async def engine_that(answer: Answer, *, seconds: float = 30) -> AsyncIterator[Docker]:
    async def dispatch(request: web.Request) -> web.StreamResponse:
        if request.path == "/version":
            return web.json_response(VERSION)
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", dispatch)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    docker = Docker(f"tcp://127.0.0.1:{port}", seconds=seconds, slow_seconds=seconds)
    try:
        yield docker
    finally:
        await docker.close()
        await runner.cleanup()


def status(code: int, message: str = "says the engine") -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"message": message}, status=code)

    return answer


def text(body: str, code: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, status=code)

    return answer


async def hangs(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'[{"Id": "half')
    assert request.transport is not None
    request.transport.close()
    return response


BAD = [
    (hangs, Unavailable),
    (breaks_off, Unavailable),
    (text("not JSON at all"), Unavailable),
    (text("{}", 500), Unavailable),
    (text('"a word"'), Unavailable),
    (text("[1, 2]"), Unavailable),
    (text("null"), Unavailable),
    (status(500), Unavailable),
    (status(503), Unavailable),
    (status(400), Refused),
    (status(409), Conflict),
]


@pytest.mark.parametrize(("answer", "error"), BAD)
async def test_a_bad_answer_is_an_error_and_never_an_absence(
    answer: Answer, error: type[Exception]
) -> None:
    seconds = 0.2 if answer is hangs else 30
    async with engine_that(answer, seconds=seconds) as engine:
        with pytest.raises(error):
            await engine.inspect("n1")
        with pytest.raises(error):
            await engine.list({"a": "b"})
        with pytest.raises(error):
            await engine.image("demo")


@pytest.mark.parametrize("answer", [a for a, _ in BAD if a is not hangs])
async def test_a_stream_that_breaks_says_so(answer: Answer) -> None:
    async with engine_that(answer) as engine:
        with pytest.raises(Unavailable):
            async for _ in engine.events({"a": "b"}, since=0):
                pass


async def test_404_is_an_absence_and_removing_it_is_done() -> None:
    async with engine_that(status(404)) as engine:
        assert await engine.inspect("n1") is None
        assert await engine.image("demo") is None
        assert await engine.log_tail("n1", lines=5) == b""
        await engine.remove("n1")
        await engine.stop("n1", seconds=1)
        await engine.remove_network("n1")
        with pytest.raises(Refused, match="says the engine"):
            await engine.create("n1", {})
        with pytest.raises(Refused):
            await engine.start("n1")


@pytest.mark.parametrize(
    "message",
    ["Bind for 127.0.0.1:20000 failed: port is already allocated", "address already in use"],
)
async def test_a_port_in_use_is_told_apart_from_a_broken_engine(message: str) -> None:
    async with engine_that(status(500, message)) as engine:
        with pytest.raises(Conflict):
            await engine.start("n1")


async def test_a_weight_that_an_engine_without_cgroups_never_gave_needs_no_change() -> None:
    message = "cannot set cpu limit: container could not join or create cgroup"
    async with engine_that(status(500, message)) as engine:
        await engine.set_cpu_shares("n1", 1024)
    async with engine_that(status(500)) as engine:
        with pytest.raises(Unavailable):
            await engine.set_cpu_shares("n1", 1024)


async def test_an_engine_that_is_down_is_unavailable() -> None:
    engine = Docker("unix:///no/such/docker.sock")
    try:
        with pytest.raises(Unavailable):
            await engine.list({})
    finally:
        await engine.close()


def test_a_socket_that_cannot_be_one_is_refused_by_name() -> None:
    with pytest.raises(BadSettings, match=r"node\.docker_host = 'docker\.sock'"):
        Docker("docker.sock")


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("created", "created"),
        ("running", "running"),
        ("paused", "running"),
        ("exited", "exited"),
        ("dead", "exited"),
        ("removing", "removing"),
        ("restarting", "unknown"),
        ("hibernating", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_state_never_heard_of_is_unknown_and_no_end(word: Any, state: str) -> None:
    assert answers.state(word) == state


def test_an_exit_code_is_only_believed_of_what_ended() -> None:
    running = {"Id": "c1", "State": {"Status": "running", "ExitCode": 0}}
    ended = {"Id": "c1", "State": {"Status": "exited", "ExitCode": -1, "OOMKilled": True}}

    assert answers.seen(running).exit_code is None
    assert answers.seen(ended).exit_code == -1
    assert answers.seen(ended).out_of_memory


def test_an_events_cursor_has_nanoseconds() -> None:
    event = {"Action": "die", "time": 1, "timeNano": 1795417351123456789, "Actor": {"ID": "c1"}}

    assert answers.happening(event).at == 1795417351123456789


def test_a_log_comes_out_of_its_frames() -> None:
    framed = b"\x01\0\0\0\0\0\0\x03one" + b"\x02\0\0\0\0\0\0\x04 two"

    assert answers.frames(framed) == b"one two"
    assert answers.frames(b"plain text of a terminal") == b"plain text of a terminal"
    assert answers.frames(b"") == b""


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "info", "get.info"),
        ("GET", "containers/json", "get.containers.json"),
        ("POST", "containers/create", "post.containers.create"),
        ("GET", "containers/0a1b/json", "get.containers.one.json"),
        ("POST", "containers/0a1b/start", "post.containers.one.start"),
        ("DELETE", "containers/0a1b", "delete.containers"),
        ("GET", "images/registry/name:tag/json", "get.images.one.json"),
        ("GET", "networks/greenroom-node1", "get.networks"),
    ],
)
def test_a_calls_name_never_holds_an_id(method: str, path: str, name: str) -> None:
    assert answers.call_name(method, path) == name
