"""The suspect lane: everybody's redelivered messages, each to the handlers of its own queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controlplane.clients.rabbitmq import Broker, Delivery, command
from controlplane.errors import Unavailable
from controlplane.messages import Envelope, RetireNotebook
from tests.working.conftest import DEADLINE, Inbox, in_quarantine, retire
from workers.loop import Handler, Lane, Reader
from workers.suspect import suspect_lane


class Seen:
    """Handlers that keep who handled what."""

    def __init__(self) -> None:
        self._seen: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.errors: list[Exception] = []

    def handler(self, name: str) -> Handler:
        async def handle(envelope: Envelope) -> None:
            assert isinstance(envelope.message, RetireNotebook)
            self._seen.put_nowait((name, envelope.message.reason))
            if self.errors:
                raise self.errors.pop()

        return handle

    async def next(self) -> tuple[str, str]:
        async with asyncio.timeout(DEADLINE):
            return await self._seen.get()


@pytest.fixture
async def seen(broker: Broker) -> AsyncIterator[Seen]:
    """A suspect reader over the handlers of node1 and node2."""
    seen = Seen()
    lanes = [
        Lane(queue=f"node.{node}", handlers={RetireNotebook: seen.handler(node)}, seconds=30)
        for node in ("node1", "node2")
    ]
    await broker.declare_node("node2")
    reader = Reader(broker, suspect_lane(lanes))
    await reader.start()
    yield seen
    await reader.drain(DEADLINE)


async def move(broker: Broker, node: str, *reasons: str) -> None:
    """Send these to a node's queue, and on to suspect as its reader would."""

    async def pass_on(delivery: Delivery) -> None:
        await delivery.to_suspect()
        passed.release()

    passed = asyncio.Semaphore(0)
    consumer = await broker.consume(f"node.{node}", pass_on, prefetch=1)
    for reason in reasons:
        await broker.publish(retire(reason), command(node))
    async with asyncio.timeout(DEADLINE):
        for _ in reasons:
            await passed.acquire()
    await consumer.cancel()


async def test_each_message_goes_to_the_handlers_of_the_queue_it_came_from(
    broker: Broker, seen: Seen
) -> None:
    await move(broker, "node2", "a")
    await move(broker, "node1", "b")

    assert [await seen.next(), await seen.next()] == [("node2", "a"), ("node1", "b")]


async def test_suspects_are_handled_one_at_a_time_in_their_order(
    broker: Broker, seen: Seen
) -> None:
    reasons = [f"n{number}" for number in range(8)]

    await move(broker, "node1", *reasons)

    assert [(await seen.next())[1] for _ in reasons] == reasons


async def test_a_suspect_whose_service_is_away_is_tried_until_it_goes(
    broker: Broker, seen: Seen
) -> None:
    seen.errors = [Unavailable(), Unavailable()]

    await move(broker, "node1", "a", "b")

    assert [(await seen.next())[1] for _ in range(4)] == ["a", "a", "a", "b"]
    assert await broker.quarantined() == []


async def test_a_suspect_that_meets_a_bug_is_quarantined_with_its_origin(
    broker: Broker, seen: Seen
) -> None:
    seen.errors = [ZeroDivisionError()]

    await move(broker, "node1", "a")
    (put,) = await in_quarantine(broker, 1)

    assert (put.reason, put.detail, put.queue) == ("bug", "ZeroDivisionError", "node.node1")


async def test_a_suspect_of_a_queue_that_nobody_handles_here_is_quarantined(
    broker: Broker, seen: Seen
) -> None:
    inbox = Inbox()
    await broker.declare_node("node3")
    await broker.consume("node.node3", inbox.keep, prefetch=1)
    await broker.publish(retire("a"), command("node3"))
    await (await inbox.next()).to_suspect()
    (put,) = await in_quarantine(broker, 1)

    assert (put.reason, put.queue) == ("unknown", "node.node3")
    assert "node.node3" in put.detail
