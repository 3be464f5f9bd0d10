"""Publishing, consuming and the topology, against a real broker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import aio_pika
import pytest

from controlplane.clients.rabbitmq import Broker, Delivery, command, event, hub, report, request
from controlplane.clients.rabbitmq.canary import Canary
from controlplane.clients.rabbitmq.topology import TRIES
from controlplane.errors import BadSettings, Refused, Terminal, Unavailable, Unroutable
from controlplane.messages import (
    LeaseEnded,
    LineQuestion,
    Moved,
    NodeHeartbeat,
    NodeHello,
    NodeInventory,
    decode,
)
from tests.working.conftest import DEADLINE, Inbox, retire

LEASE = "0192f3a1-5b7c-7d3e-8f10-2a4b6c8d0e1f"


async def test_a_command_reaches_its_node_and_says_where_it_came_from(broker: Broker) -> None:
    inbox = Inbox()
    order = retire("surplus")
    await broker.consume("node.node1", inbox.put, prefetch=16)

    await broker.publish(order, command("node1"), traceparent="00-aa-bb-01")

    envelope = decode((await inbox.next()).body)
    assert envelope.message == order
    assert envelope.source == "test"
    assert envelope.traceparent == "00-aa-bb-01"
    assert envelope.time


async def test_a_command_to_a_node_that_nobody_declared_is_unroutable(broker: Broker) -> None:
    with pytest.raises(Unroutable, match="topology apply"):
        await broker.publish(retire(), command("nowhere"))


async def test_an_event_that_nobody_listens_to_is_no_error(broker: Broker) -> None:
    moved = Moved(
        day="2026-11-23", seq=1, entity="lease", key=LEASE, version=1, phase="ended", pool="demo"
    )

    await broker.publish(moved, event(moved))
    await broker.publish(LeaseEnded(lease=LEASE, reason="stopped"), hub("long-gone"))


async def test_publishing_to_a_broker_that_knows_no_exchange_of_ours_is_unroutable(
    amqp_url: str, installation: str
) -> None:
    broker = await Broker.connect(amqp_url, installation=installation, source="test")

    with pytest.raises(Unroutable, match="topology apply"):
        await broker.publish(retire(), command("node1"))
    # The broker closed the channel for it; the next publish opens another.
    with pytest.raises(Unroutable, match="topology apply"):
        await broker.publish(retire(), command("node1"))

    await broker.close()


async def test_requests_and_reports_reach_the_queues_of_the_table(broker: Broker) -> None:
    requests, reports = Inbox(), Inbox()
    await broker.consume("lease.requests", requests.put, prefetch=16)
    await broker.consume("liveness", reports.put, prefetch=16)
    question = LineQuestion(lease=LEASE, hub="h", hub_process="h-1")
    beat = NodeHeartbeat(node="node1", epoch=1, seq=1)

    await broker.publish(question, request(question))
    await broker.publish(beat, report(beat))

    assert decode((await requests.next()).body).message == question
    assert decode((await reports.next()).body).message == beat


async def test_each_publish_of_the_same_content_has_an_id_of_its_own(broker: Broker) -> None:
    inbox = Inbox()
    order = retire()
    await broker.consume("node.node1", inbox.put, prefetch=16)

    await broker.publish(order, command("node1"))
    await broker.publish(order, command("node1"))

    first, second = decode((await inbox.next()).body), decode((await inbox.next()).body)
    assert first.message == second.message
    assert first.id != second.id


async def test_many_publishes_at_once_all_arrive(broker: Broker) -> None:
    inbox = Inbox()
    orders = [retire() for _ in range(300)]
    await broker.consume("node.node1", inbox.put, prefetch=50)

    await asyncio.gather(*(broker.publish(order, command("node1")) for order in orders))

    arrived = {decode((await inbox.next()).body).message.model_dump_json() for _ in orders}
    assert arrived == {order.model_dump_json() for order in orders}


async def test_a_message_past_its_budget_is_not_delivered(broker: Broker) -> None:
    inbox = Inbox()
    await broker.publish(retire("late"), command("node1"), expires_ms=0)
    await broker.publish(retire("in-time"), command("node1"))

    await broker.consume("node.node1", inbox.put, prefetch=1)

    assert b"in-time" in (await inbox.next()).body


async def test_a_route_of_what_is_soon_said_again_lets_it_expire(broker: Broker) -> None:
    inbox = Inbox()
    await broker.publish(retire("late"), replace(command("node1"), expires_ms=0))
    await broker.publish(retire("in-time"), command("node1"))

    await broker.consume("node.node1", inbox.put, prefetch=1)

    assert b"in-time" in (await inbox.next()).body


def test_a_queue_that_nobody_reads_does_not_fill_with_what_agents_say_all_the_time() -> None:
    about = {"node": "node1", "epoch": 1, "seq": 1}
    heartbeat, inventory = NodeHeartbeat(**about), NodeInventory(**about, inventory="i1")
    hello = NodeHello(**about, address="127.0.0.1", max_notebooks=1)

    assert report(heartbeat).expires_ms == 30_000
    assert report(inventory).expires_ms == 60_000
    # Said once: it waits for its reader.
    assert report(hello).expires_ms is None


async def test_a_paused_consumer_gets_nothing_until_it_resumes(broker: Broker) -> None:
    inbox = Inbox()
    consumer = await broker.consume("node.node1", inbox.put, prefetch=16)
    async with asyncio.timeout(DEADLINE):
        await consumer.consuming.wait()
        await consumer.pause()
    await broker.publish(retire("meanwhile"), command("node1"))
    # A round trip of the same broker object: what was to come would have come.
    await broker.check()

    assert inbox.empty()

    await consumer.resume()

    assert b"meanwhile" in (await inbox.next()).body


async def test_a_consumer_of_an_unknown_queue_is_refused_at_once(broker: Broker) -> None:
    with pytest.raises(Terminal, match=r"lease\.requets"):
        await broker.consume("lease.requets", Inbox().put, prefetch=1)


async def test_declaring_twice_changes_nothing(broker: Broker) -> None:
    await broker.publish(retire("kept"), command("node1"))

    await broker.declare()
    await broker.declare_node("node1")

    inbox = Inbox()
    await broker.consume("node.node1", inbox.put, prefetch=1)
    assert b"kept" in (await inbox.next()).body


async def test_a_queue_with_other_arguments_is_refused_with_what_to_do(
    amqp_url: str, installation: str, clean: None
) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(f"{installation}.refill", durable=True)
    broker = await Broker.connect(amqp_url, installation=installation, source="test")

    with pytest.raises(Refused, match=r"delete_queue .*\.refill"):
        await broker.declare()

    await broker.close()


async def test_a_canary_heard_as_its_connection_goes_kills_nobody() -> None:
    class Gone:
        async def ack(self) -> None:
            raise Unavailable("ack: the channel is closed")

    nothing: Any = None
    canary = Canary(nothing, nothing, prefix="test")

    # What a consumer's reader raises is a bug that its process dies of.
    await canary.hear(cast(Delivery, Gone()))


async def test_the_canary_comes_back(broker: Broker) -> None:
    await broker.check()
    await broker.check()


@pytest.mark.services
async def test_no_broker_there_is_said_with_the_reason() -> None:
    with pytest.raises(Unavailable, match="no connection to RabbitMQ"):
        await Broker.connect("amqp://guest:hunter2@127.0.0.1:1/", installation="t", source="t")


async def test_a_message_given_back_comes_again_and_is_counted(broker: Broker) -> None:
    inbox = Inbox()
    await broker.consume("node.node1", inbox.keep, prefetch=1)
    await broker.publish(retire("again"), command("node1"))

    seen = []
    for _ in range(TRIES + 1):
        delivery = await inbox.next()
        seen.append((delivery.redelivered, delivery.tries))
        await delivery.give_back()

    assert seen == [(False, 0), (True, 1), (True, 2), (True, 3)]


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://broker:5672/", "amqp://", "amqp://h:port/"]
)
async def test_an_address_that_can_never_connect_is_said_at_once_and_without_it(url: str) -> None:
    with pytest.raises(BadSettings, match="amqp_url does not fit: write amqp://"):
        Broker.start(url, installation="t", source="t")


async def test_what_amqp_cannot_carry_is_refused_and_not_tried_for_ever(broker: Broker) -> None:
    with pytest.raises(Refused, match="AMQP cannot carry"):
        await broker.publish(retire(), command("n" * 300))
    # The connection is none the worse for it.
    await broker.publish(retire(), command("node1"))
