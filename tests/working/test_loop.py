"""What each kind of message gets from the loop that all workers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import pytest
from prometheus_client import REGISTRY

from controlplane.clients.rabbitmq import Broker, command
from controlplane.errors import Conflict, Refused, Unavailable
from controlplane.messages import Envelope, RetireNotebook, encode
from tests.working.conftest import DEADLINE, Inbox, happens, in_quarantine, retire
from workers.loop import Lane, Reader

Reading = Callable[..., Awaitable[Reader]]


class Handled:
    """A handler that does what it is told by a message's reason, and keeps what it saw."""

    def __init__(self) -> None:
        self._seen: asyncio.Queue[str] = asyncio.Queue()
        self.told: dict[str, Callable[[], Awaitable[None]]] = {}

    async def __call__(self, envelope: Envelope) -> None:
        assert isinstance(envelope.message, RetireNotebook)
        reason = envelope.message.reason
        self._seen.put_nowait(reason)
        if reason in self.told:
            await self.told[reason]()

    async def next(self) -> str:
        async with asyncio.timeout(DEADLINE):
            return await self._seen.get()

    def all(self) -> list[str]:
        return [self._seen.get_nowait() for _ in range(self._seen.qsize())]

    def lane(self, **changes: Any) -> Lane:
        return Lane(**{"queue": "node.node1", "handlers": {RetireNotebook: self}} | changes)


@pytest.fixture
async def reading(broker: Broker) -> AsyncIterator[Reading]:
    """Starts readers and stops them before the broker closes."""
    readers: list[Reader] = []

    async def start(lane: Lane) -> Reader:
        reader = Reader(broker, lane)
        consumer = await reader.start()
        readers.append(reader)
        async with asyncio.timeout(DEADLINE):
            await consumer.consuming.wait()
        return reader

    yield start
    for reader in readers:
        await reader.drain(DEADLINE)


def failing(*errors: Exception) -> Callable[[], Awaitable[None]]:
    """Raises these one after the other, and nothing from then on."""
    left = list(errors)

    async def act() -> None:
        if left:
            raise left.pop(0)

    return act


async def order(broker: Broker, reason: str) -> None:
    await broker.publish(retire(reason), command("node1"))


async def put_raw(amqp_url: str, queue: str, body: bytes, **properties: Any) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        message = aio_pika.Message(body, **properties)
        await channel.default_exchange.publish(message, queue, timeout=DEADLINE)


async def test_a_message_is_handled_once_and_acked(broker: Broker, reading: Reading) -> None:
    handled = Handled()
    reader = await reading(handled.lane())

    await order(broker, "a")
    await order(broker, "b")
    seen = {await handled.next(), await handled.next()}
    await reader.drain(DEADLINE)

    left = Inbox()
    await broker.consume("node.node1", left.put, prefetch=1)
    await order(broker, "marker")
    assert seen == {"a", "b"}
    assert b"marker" in (await left.next()).body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{]", "malformed"),
        (b"x" * 70_000, "oversized"),
        (b'{"type": "notebook.retire.v9"}', "version"),
        (b'{"type": "weather.changed.v1"}', "unknown"),
        (b'{"type": "notebook.retire.v1", "data": {"notebook": "?"}}', "invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_content_is_quarantined_and_its_neighbour_handled(
    broker: Broker, reading: Reading, amqp_url: str, body: bytes, reason: str
) -> None:
    handled = Handled()
    await put_raw(amqp_url, f"{broker.installation}.node.node1", body)
    await reading(handled.lane())

    await order(broker, "neighbour")
    (put,) = await in_quarantine(broker, 1)

    assert await handled.next() == "neighbour"
    assert (put.reason, put.queue) == (reason, "node.node1")
    assert put.detail
    assert put.time
    assert put.bytes <= 65_536


async def test_headers_of_a_sender_decide_nothing(
    broker: Broker, reading: Reading, amqp_url: str
) -> None:
    handled = Handled()
    headers: dict[str, Any] = {f"h{number}": "x" for number in range(1000)}
    headers |= {"x-delivery-count": 99, "x-death": "forged", "greenroom-queue": "lease.requests"}
    body = encode(retire("forged"), id="1", source="test", time="now")
    await reading(handled.lane())

    name = f"{broker.installation}.node.node1"
    await put_raw(amqp_url, name, body, headers=headers, reply_to="somebody.else")

    assert await handled.next() == "forged"


async def test_a_known_message_without_a_handler_is_acked(broker: Broker, reading: Reading) -> None:
    handled = Handled()
    before = ignored()
    await order(broker, "nobody")
    reader = await reading(handled.lane(handlers={}))
    await happens(lambda: ignored() > before)
    await reader.drain(DEADLINE)

    left = Inbox()
    await broker.consume("node.node1", left.put, prefetch=1)
    await order(broker, "marker")

    assert b"marker" in (await left.next()).body


async def test_a_refusal_is_quarantined_with_its_sentence(broker: Broker, reading: Reading) -> None:
    handled = Handled()
    handled.told["no"] = failing(Refused("the lease belongs to another user"))
    await reading(handled.lane())

    await order(broker, "no")
    (put,) = await in_quarantine(broker, 1)

    assert (put.reason, put.detail) == ("refused", "the lease belongs to another user")
    assert put.type == "notebook.retire.v1"


async def test_a_bug_is_quarantined_by_its_type_and_the_lane_goes_on(
    broker: Broker, reading: Reading
) -> None:
    handled = Handled()
    handled.told["bug"] = failing(KeyError("a-token-in-an-error"))
    await reading(handled.lane())

    await order(broker, "bug")
    await order(broker, "after")
    (put,) = await in_quarantine(broker, 1)

    assert {await handled.next(), await handled.next()} == {"bug", "after"}
    assert (put.reason, put.detail) == ("bug", "KeyError")


async def test_a_timeout_of_the_handlers_own_is_a_bug_and_not_slowness(
    broker: Broker, reading: Reading
) -> None:
    handled = Handled()
    handled.told["bug"] = failing(TimeoutError())
    await reading(handled.lane(seconds=DEADLINE))

    await order(broker, "bug")
    (put,) = await in_quarantine(broker, 1)

    assert (put.reason, put.detail) == ("bug", "TimeoutError")


async def test_while_a_service_is_away_the_lane_waits_and_then_loses_nothing(
    broker: Broker, reading: Reading
) -> None:
    handled = Handled()
    away = asyncio.Event()

    async def ask_the_service() -> None:
        if not away.is_set():
            raise Unavailable("postgres did not answer")

    handled.told["first"] = ask_the_service
    # The broker would give it a second one to hold.
    reader = await reading(handled.lane(prefetch=2))

    await order(broker, "first")
    await happens(lambda: reader.state == "paused")
    await order(broker, "second")
    tries_before = [await handled.next(), await handled.next(), await handled.next()]
    away.set()
    async with asyncio.timeout(DEADLINE):
        while (later := await handled.next()) == "first":
            continue

    assert tries_before == ["first"] * 3
    assert later == "second"
    await happens(lambda: reader.state == "reading")
    assert await broker.quarantined() == []


async def test_a_conflict_is_tried_again_without_stopping_the_lane(
    broker: Broker, reading: Reading
) -> None:
    handled = Handled()
    handled.told["row"] = failing(Conflict(), Conflict())
    reader = await reading(handled.lane(prefetch=1))

    await order(broker, "row")
    await order(broker, "next")
    seen = []
    while "next" not in seen:
        seen.append(await handled.next())
        assert reader.state == "reading"

    assert seen == ["row", "row", "row", "next"]


async def test_a_handler_that_hangs_is_cut_off_and_its_message_becomes_suspect(
    broker: Broker, reading: Reading
) -> None:
    handled, suspects = Handled(), Inbox()
    never = asyncio.Event()
    handled.told["hang"] = never.wait  # type: ignore[assignment] # its True is nobody's business
    await broker.consume("suspect", suspects.put, prefetch=1)
    await reading(handled.lane(seconds=0.2))

    await order(broker, "hang")
    suspect = await suspects.next()

    assert suspect.origin == "node.node1"
    assert b'"reason":"hang"' in suspect.body


async def test_a_redelivered_message_is_not_handled_but_moved_to_suspect(
    broker: Broker, reading: Reading, amqp_url: str
) -> None:
    handled, suspects, taken = Handled(), Inbox(), Inbox()
    crashing = await Broker.connect(
        amqp_url, installation=broker.installation, source="crashes with it in hand"
    )
    await crashing.consume("node.node1", taken.keep, prefetch=1)
    await order(broker, "seen-before")
    await taken.next()
    await crashing.close()
    await broker.consume("suspect", suspects.put, prefetch=1)

    await reading(handled.lane())
    suspect = await suspects.next()

    assert b"seen-before" in suspect.body
    assert suspect.origin == "node.node1"
    assert handled.all() == []


async def test_a_lane_that_takes_redelivered_messages_gives_up_after_three(
    broker: Broker, reading: Reading
) -> None:
    handled = Handled()
    never = asyncio.Event()
    handled.told["hang"] = never.wait  # type: ignore[assignment] # its True is nobody's business
    await reading(handled.lane(seconds=0.1, takes_redelivered=True, prefetch=1))

    await order(broker, "hang")
    (put,) = await in_quarantine(broker, 1)

    assert put.reason == "repeated"
    assert handled.all() == ["hang"] * 3


async def test_draining_lets_the_handler_in_hand_finish_and_takes_nothing_new(
    broker: Broker, reading: Reading
) -> None:
    handled = Handled()
    release, finished = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await release.wait()
        finished.set()

    handled.told["slow"] = slow
    reader = await reading(handled.lane(prefetch=1, seconds=DEADLINE))
    await order(broker, "slow")
    await handled.next()

    draining = asyncio.create_task(reader.drain(DEADLINE))
    await happens(lambda: reader.state == "waiting")
    await order(broker, "left")
    release.set()

    assert await draining
    assert finished.is_set()
    assert handled.all() == []


async def test_draining_does_not_wait_for_a_service_that_is_away(
    broker: Broker, reading: Reading
) -> None:
    handled = Handled()
    handled.told["first"] = failing(*[Unavailable("gone")] * 1000)
    reader = await reading(handled.lane(prefetch=1))
    await order(broker, "first")
    await handled.next()

    assert await reader.drain(DEADLINE)


def ignored() -> float:
    labels = {"queue": "node", "outcome": "ignored"}
    return REGISTRY.get_sample_value("greenroom_messages_handled_total", labels) or 0
