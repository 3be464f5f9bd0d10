"""What people see of messages that nobody could handle: reasons, and never a seal."""

from __future__ import annotations

import json

import aio_pika
import pytest
from cryptography.fernet import Fernet

from controlplane.clients.rabbitmq import Broker, Delivery, command
from controlplane.clients.rabbitmq.quarantine import presentable
from controlplane.clients.rabbitmq.topology import TRIES
from controlplane.errors import Refused
from controlplane.messages import decode
from controlplane.messages.envelope import MAX_BYTES
from tests.working.conftest import Inbox, in_quarantine, retire

SEAL = Fernet(Fernet.generate_key()).encrypt(b"JUPYTERHUB_API_TOKEN=hunter2")


async def put_aside(broker: Broker, reason: str = "invalid", detail: str = "why") -> None:
    """A command of node1, quarantined by whoever read it."""
    inbox = Inbox()
    consumer = await broker.consume("node.node1", inbox.keep, prefetch=1)
    await broker.publish(retire("mine"), command("node1"))
    await (await inbox.next()).quarantine(reason, detail)
    await consumer.cancel()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_seal_is_cut_out_of_whatever_it_is_in(encoding: str) -> None:
    body = f'{{"lease": "l1", "sealed": "{SEAL.decode()}", broken'.encode(encoding)

    shown, complete = presentable(body)

    readable = shown.replace(b"\x00", b"")
    assert SEAL[10:30] not in readable
    assert b"[seal]" in readable
    assert b"broken" in readable
    assert not complete


def test_an_oversized_body_keeps_only_its_beginning() -> None:
    shown, complete = presentable(b"x" * (MAX_BYTES + 1))

    assert len(shown) < MAX_BYTES
    assert not complete


def test_a_body_without_a_seal_stays_as_it_is() -> None:
    body = json.dumps({"type": "notebook.retire.v1", "data": {"reason": "gAAAA"}}).encode()

    assert presentable(body) == (body, True)


async def test_quarantine_shows_reason_kind_time_and_origin_and_keeps_the_message(
    broker: Broker,
) -> None:
    await put_aside(broker, "refused", "another user's lease")

    (first,) = await in_quarantine(broker, 1)
    (again,) = await in_quarantine(broker, 1)

    assert first == again
    assert (first.reason, first.detail) == ("refused", "another user's lease")
    assert (first.queue, first.type) == ("node.node1", "notebook.retire.v1")
    assert first.time
    assert first.id
    assert first.replayable


async def test_text_that_no_header_can_hold_is_quarantined_all_the_same(broker: Broker) -> None:
    await put_aside(broker, "invalid", "half a pair \ud800 and \x00 and a long one" + "é" * 5000)

    (put,) = await in_quarantine(broker, 1)

    assert put.detail.startswith("half a pair")


async def test_quarantine_is_listed_oldest_first_and_only_so_many(broker: Broker) -> None:
    for detail in ("first", "second", "third"):
        await put_aside(broker, "invalid", detail)

    listed = await broker.quarantined(2)

    assert [put.detail for put in listed] == ["first", "second"]


async def test_a_replayed_message_goes_back_to_its_queue_and_leaves_quarantine(
    broker: Broker,
) -> None:
    await put_aside(broker)
    (put,) = await in_quarantine(broker, 1)

    assert await broker.replay(put.id)

    inbox = Inbox()
    await broker.consume("node.node1", inbox.put, prefetch=1)
    delivery = await inbox.next()
    assert not delivery.redelivered
    assert decode(delivery.body).message.TYPE == "notebook.retire.v1"
    assert await broker.quarantined() == []


async def test_replaying_what_is_not_there_says_no(broker: Broker) -> None:
    assert not await broker.replay("nobody")


async def test_a_message_whose_seal_was_cut_out_is_not_replayed(
    broker: Broker, amqp_url: str
) -> None:
    body = json.dumps({"type": "lease.request.v1", "data": {"sealed": SEAL.decode()}}).encode()
    inbox = Inbox()
    await broker.consume("lease.requests", inbox.keep, prefetch=1)
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        name = f"{broker.installation}.lease.requests"
        await channel.default_exchange.publish(aio_pika.Message(body), name)
    await (await inbox.next()).quarantine("invalid", "no lease in it")
    (put,) = await in_quarantine(broker, 1)

    with pytest.raises(Refused, match="cut out"):
        await broker.replay(put.id)

    assert not put.replayable
    assert len(await broker.quarantined()) == 1
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        kept = await (await channel.get_queue(f"{broker.installation}.quarantine")).get()
        assert SEAL not in kept.body
        assert b"[seal]" in kept.body


async def test_what_the_broker_itself_gives_up_on_is_in_quarantine_with_its_reason(
    broker: Broker,
) -> None:
    """The last resort, should the suspect process die before it can say so itself."""
    first, suspects = Inbox(), Inbox()
    await broker.consume("node.node1", first.keep, prefetch=1)
    await broker.publish(retire("poison"), command("node1"))
    await (await first.next()).to_suspect()
    await broker.consume("suspect", suspects.keep, prefetch=1)

    tries = []
    for _ in range(TRIES + 1):
        delivery: Delivery = await suspects.next()
        tries.append(delivery.tries)
        await delivery.give_back()
    (put,) = await in_quarantine(broker, 1)

    assert tries == [0, 1, 2, 3]
    assert put.reason == "delivery_limit"
    assert put.queue == "node.node1"
