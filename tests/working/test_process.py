"""A worker process: what makes it ready, what it survives, what it dies of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from urllib.request import urlopen

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from controlplane.clients.rabbitmq import Broker
from controlplane.clients.rabbitmq.faults import Backoff
from controlplane.errors import Refused, Unavailable
from controlplane.messages import RetireNotebook
from controlplane.settings import Settings
from tests.working.conftest import DEADLINE, happens
from tests.working.fault_proxy import FaultProxy
from workers import process
from workers.__main__ import main
from workers.door import Door
from workers.loop import Lane
from workers.process import Task, Tick, Work


@pytest.fixture
def settings(amqp_url: str, installation: str) -> Settings:
    return Settings(amqp_url=SecretStr(amqp_url), installation=installation, http_port=0)


async def ended(work: Awaitable[None]) -> BaseException:
    """The one error that it died of."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.timeout(DEADLINE):
            await work
    (error,) = caught.value.exceptions
    return error


@asynccontextmanager
async def running(settings: Settings, broker: Broker, work: Work) -> AsyncIterator[str]:
    """The process inside this one; the URL of its door."""
    with capture_logs() as logs:
        task = asyncio.create_task(process.run("test", settings, broker, work))
        await happens(lambda: any(line["event"] == "process.listening" for line in logs))
    told = next(line for line in logs if line["event"] == "process.listening")
    try:
        yield f"http://{told['host']}:{told['port']}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def get(url: str) -> tuple[str, bytes]:
    def ask() -> tuple[str, bytes]:
        with urlopen(url, timeout=DEADLINE) as answer:
            return answer.headers["Content-Type"], answer.read()

    return await asyncio.to_thread(ask)


async def health(url: str) -> dict[str, Any]:
    kind, body = await get(f"{url}/healthz")
    assert kind == "application/json"
    answer: dict[str, Any] = json.loads(body)
    return answer


async def until_ready(url: str, ready: bool) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        while (said := await health(url))["ready"] is not ready:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return said


async def nothing() -> None: ...


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_process_that_reads_its_lanes_is_ready_and_shows_its_metrics(
    broker: Broker, settings: Settings
) -> None:
    lane = Lane(queue="node.node1", handlers={RetireNotebook: lambda _: nothing()})

    async with running(settings, broker, Work(lanes=[lane])) as url:
        said = await until_ready(url, True)
        _, metrics = await get(f"{url}/metrics")

    assert said["name"] == "test"
    assert said["lanes"] == {"node.node1": "reading"}
    assert b"greenroom_broker_connected 1.0" in metrics


async def test_a_room_that_cannot_do_its_job_is_not_ready(
    broker: Broker, settings: Settings
) -> None:
    able: list[bool] = []

    async with running(settings, broker, Work(ready=lambda: bool(able))) as url:
        before = await until_ready(url, False)
        able.append(True)
        after = await until_ready(url, True)

    assert (before["ready"], after["ready"]) == (False, True)


async def test_without_a_broker_a_process_stays_and_says_why_it_is_not_ready(
    broker: Broker, settings: Settings, proxy: FaultProxy
) -> None:
    proxy.down()
    lane = Lane(queue="node.node1")
    far = Broker.start(proxy.url, installation=settings.installation, source="far")

    async with running(settings, far, Work(lanes=[lane])) as url:
        away = await until_ready(url, False)
        proxy.up()
        await until_ready(url, True)
        proxy.down()
        away_again = await until_ready(url, False)
        proxy.up()
        back = await until_ready(url, True)

    assert "broker" in away["broker"]
    assert away_again["lanes"] == {"node.node1": "waiting"}
    assert back["broker"] == "connected"
    await far.close()


async def test_a_bug_in_a_tick_ends_the_process(broker: Broker, settings: Settings) -> None:
    async def buggy() -> None:
        raise KeyError("no such row")

    tick = Tick(name="sweep", every_seconds=0.01, call=buggy)

    error = await ended(process.run("test", settings, broker, Work(ticks=[tick])))

    assert isinstance(error, KeyError)


async def test_a_tick_that_meets_a_service_away_or_a_refusal_is_called_again_after_a_wait(
    broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [Unavailable(), Refused(), Unavailable()]
    went = asyncio.Event()

    async def call() -> None:
        if errors:
            raise errors.pop()
        went.set()

    waits: list[int] = []

    class Counted(Backoff):
        def next(self) -> float:
            waits.append(1)
            return 0.0

    monkeypatch.setattr(process, "Backoff", Counted)
    tick = Tick(name="sweep", every_seconds=0, call=call)
    async with running(settings, broker, Work(ticks=[tick])), asyncio.timeout(DEADLINE):
        await went.wait()

    # One wait for each failure: a tick without a period must not spin.
    assert len(waits) >= 3


async def test_a_tick_that_hangs_is_given_up_and_called_again(
    broker: Broker, settings: Settings
) -> None:
    calls: list[int] = []
    again = asyncio.Event()

    async def call() -> None:
        calls.append(1)
        if len(calls) > 1:
            again.set()
        await for_ever()

    tick = Tick(name="sweep", every_seconds=0.01, call=call, seconds=0.05)
    async with running(settings, broker, Work(ticks=[tick])), asyncio.timeout(DEADLINE):
        await again.wait()

    assert len(calls) > 1


async def test_a_task_that_ends_ends_the_process(broker: Broker, settings: Settings) -> None:
    task = Task(name="docker events", run=nothing)

    error = await ended(process.run("test", settings, broker, Work(tasks=[task])))

    assert "docker events" in str(error)


async def test_tasks_run_before_there_is_a_broker(settings: Settings, proxy: FaultProxy) -> None:
    proxy.down()
    adopted = asyncio.Event()

    async def adopt() -> None:
        adopted.set()
        await for_ever()

    far = Broker.start(proxy.url, installation=settings.installation, source="far")
    work = Work(tasks=[Task(name="adopt", run=adopt)])
    async with running(settings, far, work), asyncio.timeout(DEADLINE):
        await adopted.wait()

    assert not far.connected.is_set()
    await far.close()


async def test_a_dead_task_of_the_broker_client_ends_the_process(
    broker: Broker, settings: Settings
) -> None:
    broker.died.set_exception(RuntimeError("the consumer's task died"))

    error = await ended(process.run("test", settings, broker, Work()))

    assert str(error) == "the consumer's task died"


async def test_deaf_on_a_connection_that_is_up_ends_the_process(
    broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf() -> None:
        raise Unavailable("the canary did not come back")

    monkeypatch.setattr(broker, "check", deaf)
    monkeypatch.setattr(process, "CANARY_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(process, "DEAF_SECONDS", 0.1)

    error = await ended(process.run("test", settings, broker, Work()))

    assert isinstance(error, process.Deaf)


async def test_silent_while_there_is_no_connection_is_not_deaf(
    settings: Settings, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CANARY_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(process, "DEAF_SECONDS", 0.0)
    proxy.down()
    far = Broker.start(proxy.url, installation=settings.installation, source="far")

    async with running(settings, far, Work()) as url:
        said = [await health(url) for _ in range(20)]

    assert {answer["ready"] for answer in said} == {False}
    await far.close()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /healthz HTTP/1.1", b"200 OK"),
        (b"GET /healthz?x=1 HTTP/1.1", b"200 OK"),
        (b"GET /metrics HTTP/1.0", b"200 OK"),
        (b"GET /secrets HTTP/1.1", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1", b"405 Method Not Allowed"),
        (b"GET", b"405 Method Not Allowed"),
        (b"\x00\xff", b"405 Method Not Allowed"),
        (b"GET /" + b"x" * 20_000, b""),
    ],
    ids=["healthz", "query", "metrics", "unknown", "post", "half", "junk", "endless"],
)
@pytest.mark.services  # it listens on a port
async def test_the_door_answers_what_it_knows_and_closes(
    request_line: bytes, status: bytes
) -> None:
    door = await Door.open("127.0.0.1", 0, health=lambda: {"ready": True})
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(door.host, door.port)
        writer.write(request_line + b"\r\nHost: x\r\n\r\n")
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        writer.close()
    await door.close()

    assert answer.split(b"\r\n")[0] == (b"HTTP/1.1 " + status if status else b"")


@pytest.mark.parametrize("words", [[], ["leese"], ["lease", "refill"], ["--help"]])
def test_wrong_words_are_answered_with_the_right_ones(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(words)

    assert code == 2
    assert "agent|lease|refill|liveness|suspect" in capsys.readouterr().err


def test_settings_that_do_not_fit_are_said_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GREENROOM_HTTP_PORT", "70000")

    code = main(["lease"])

    assert code == 2
    assert "http_port = '70000'" in capsys.readouterr().err
