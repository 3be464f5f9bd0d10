"""A broker's bad days: connections cut, held and refused, queues deleted, consumers cancelled."""

from __future__ import annotations

import asyncio

import aio_pika
import pytest
from structlog.testing import capture_logs

from controlplane.clients.rabbitmq import Broker, command, hub
from controlplane.clients.rabbitmq.publisher import LATE_IN_A_ROW
from controlplane.errors import Unavailable, Unroutable
from controlplane.messages import LeaseEnded, decode
from tests.working.conftest import DEADLINE, Inbox, happens, retire
from tests.working.fault_proxy import FaultProxy

LEASE = "0192f3a1-5b7c-7d3e-8f10-2a4b6c8d0e1f"


async def within_deadline(event: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE):
        await event.wait()


async def publish_until_it_goes(broker: Broker, reason: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                return await broker.publish(retire(reason), command("node1"))
            except Unavailable:
                continue


async def check_until_it_goes(broker: Broker) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                return await broker.check()
            except Unavailable:
                await broker.connected.wait()


async def test_a_cut_connection_loses_nothing_and_the_consumer_reads_on(
    broker: Broker, far_broker: Broker, proxy: FaultProxy
) -> None:
    inbox = Inbox()
    consumer = await far_broker.consume("node.node1", inbox.put, prefetch=4)
    await within_deadline(consumer.consuming)
    wanted = {f"n{number}" for number in range(60)}

    async def publish_all() -> None:
        for number, reason in enumerate(sorted(wanted)):
            if number % 20 == 10:
                proxy.cut()
            await publish_until_it_goes(far_broker, reason)

    publishing = asyncio.create_task(publish_all())
    seen = set()
    while seen != wanted:
        seen.add(decode((await inbox.next()).body).message.reason)
    await publishing

    assert far_broker.generation > 2


async def test_a_deleted_queue_is_declared_again_and_read_on(
    broker: Broker, amqp_url: str, installation: str
) -> None:
    inbox = Inbox()
    consumer = await broker.consume("node.node1", inbox.put, prefetch=4)
    await within_deadline(consumer.consuming)

    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(f"{installation}.node.node1")
    # The node's queue, its binding and its consumer come back by themselves.
    async with asyncio.timeout(DEADLINE):
        while inbox.empty():
            try:
                await broker.publish(retire("after"), command("node1"))
            except Unroutable:
                await asyncio.sleep(0.02)  # until the consumer has declared it again

    assert b"after" in (await inbox.next()).body


async def test_a_broker_that_is_down_at_the_start_is_reached_when_it_comes(
    broker: Broker, proxy: FaultProxy, installation: str
) -> None:
    proxy.down()
    greeted, inbox = asyncio.Event(), Inbox()

    async def greet() -> None:
        await hub_side.publish(LeaseEnded(lease=LEASE, reason="stopped"), hub("h-1"))
        greeted.set()

    hub_side = Broker.start(proxy.url, installation=installation, source="h", on_connect=greet)
    await hub_side.consume("hub.h-1", inbox.put, prefetch=16)
    with pytest.raises(Unavailable, match="not answer"):
        await hub_side.publish(retire(), command("node1"))
    with pytest.raises(Unavailable, match="not connected"):
        await hub_side.check()
    was_connected = hub_side.connected.is_set()

    proxy.up()
    await within_deadline(greeted)
    # The answer queue existed before on_connect was called: nothing said then is lost.
    delivery = await inbox.next()

    assert not was_connected
    assert decode(delivery.body).message == LeaseEnded(lease=LEASE, reason="stopped")
    await hub_side.close()


async def test_on_connect_is_called_again_after_each_reconnect_with_the_hubs_queue_there(
    broker: Broker, proxy: FaultProxy, installation: str
) -> None:
    inbox, calls = Inbox(), []

    async def greet() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise Unavailable("the first hello is not confirmed: it is said again")
        await hub_side.publish(
            LeaseEnded(lease=LEASE, reason="stopped", detail=str(len(calls))), hub("h-1")
        )

    hub_side = Broker.start(proxy.url, installation=installation, source="h", on_connect=greet)
    await hub_side.consume("hub.h-1", inbox.put, prefetch=16)
    first = decode((await inbox.next()).body).message
    proxy.cut()
    second = decode((await inbox.next()).body).message

    assert isinstance(first, LeaseEnded)
    assert isinstance(second, LeaseEnded)
    assert int(first.detail) < int(second.detail)
    await hub_side.close()


async def test_a_silent_broker_is_unavailable_and_given_up_after_some_silence(
    broker: Broker, far_broker: Broker, proxy: FaultProxy
) -> None:
    await far_broker.publish(retire("before"), command("node1"))
    generation = far_broker.generation
    proxy.hold()

    for _ in range(LATE_IN_A_ROW):
        with pytest.raises(Unavailable, match="did not answer"):
            await far_broker.publish(retire("silence"), command("node1"))
    # A new connection cannot be made either: that is down, not deaf.
    await happens(lambda: not far_broker.connected.is_set())
    proxy.release()
    await within_deadline(far_broker.connected)
    await publish_until_it_goes(far_broker, "after")

    assert far_broker.generation > generation


async def test_a_canary_that_is_not_confirmed_makes_the_publisher_connect_anew(
    far_broker: Broker, proxy: FaultProxy
) -> None:
    await far_broker.check()
    generation = far_broker.generation
    proxy.hold()

    with pytest.raises(Unavailable):
        await far_broker.check()
    await happens(lambda: not far_broker.connected.is_set())
    proxy.release()
    await within_deadline(far_broker.connected)
    await check_until_it_goes(far_broker)

    assert far_broker.generation > generation


async def test_an_ack_over_a_connection_that_is_gone_says_so(
    far_broker: Broker, proxy: FaultProxy
) -> None:
    inbox = Inbox()
    await far_broker.declare_node("node1")
    await far_broker.consume("node.node1", inbox.keep, prefetch=1)
    await publish_until_it_goes(far_broker, "once")
    first = await inbox.next()
    proxy.cut()
    again = await inbox.next()

    assert first.lost
    with pytest.raises(Unavailable, match="ack"):
        await first.ack()
    assert again.redelivered
    assert again.tries == 1
    await again.ack()


async def test_closing_is_quick_while_the_broker_is_silent(
    broker: Broker, proxy: FaultProxy, installation: str
) -> None:
    silent = await Broker.connect(proxy.url, installation=installation, source="far")
    proxy.hold()

    async with asyncio.timeout(DEADLINE):
        await silent.close()

    assert not silent.connected.is_set()


async def test_a_hubs_queue_that_its_old_connection_still_holds_is_taken_when_that_is_gone(
    broker: Broker, amqp_url: str, installation: str
) -> None:
    inbox = Inbox()
    async with await aio_pika.connect(amqp_url) as half_dead:
        channel = await half_dead.channel()
        await channel.declare_queue(f"{installation}.hub.h-1", exclusive=True, auto_delete=True)
        with capture_logs() as logs:
            consumer = await broker.consume("hub.h-1", inbox.put, prefetch=16)
            await happens(lambda: any(line["event"] == "consumer.broken" for line in logs))
    await within_deadline(consumer.consuming)

    await broker.publish(LeaseEnded(lease=LEASE, reason="stopped"), hub("h-1"))

    assert decode((await inbox.next()).body).message == LeaseEnded(lease=LEASE, reason="stopped")
