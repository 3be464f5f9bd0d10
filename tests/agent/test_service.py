"""The agent as a process: orders come over a real broker, reports go back the same way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import aio_pika
import pytest
from pydantic import SecretStr

from controlplane.clients.rabbitmq import Broker, Delivery, Quarantined, command
from controlplane.clients.rabbitmq.topology import TRIES
from controlplane.errors import BadSettings, Unroutable
from controlplane.messages import (
    NodeHeartbeat,
    NodeHello,
    NodeInventory,
    NotebookGone,
    Report,
    WarmupFailed,
    decode,
)
from controlplane.settings import NodeSettings, Settings
from tests.agent.theatre import DEADLINE_SECONDS, Reported, Theatre
from workers import agent

pytestmark = [pytest.mark.engine, pytest.mark.services]


@pytest.fixture
async def workers(amqp_url: str, theatre: Theatre) -> AsyncIterator[tuple[Broker, Reported]]:
    """The other side: a broker's user that reads every report."""
    broker = await Broker.connect(
        amqp_url, installation=theatre.settings.installation, source="test"
    )
    reported = Reported()

    async def read(delivery: Delivery) -> None:
        message = decode(delivery.body).message
        assert isinstance(message, Report)
        await reported.publish(message)
        await delivery.ack()

    await broker.declare()
    for queue in ("lease.reports", "refill", "liveness"):
        await broker.consume(queue, read, prefetch=50)
    yield broker, reported
    await broker.close()


@pytest.fixture
async def running(
    amqp_url: str, theatre: Theatre, workers: tuple[Broker, Reported]
) -> AsyncIterator[None]:
    """`python -m workers agent`, in this process."""
    async with living(amqp_url, theatre):
        yield


@asynccontextmanager
async def living(amqp_url: str, theatre: Theatre) -> AsyncIterator[None]:
    """The same for a part of a test; at its end the agent is alive still."""
    await theatre.life.end()
    settings = theatre.settings.model_copy(update={"amqp_url": SecretStr(amqp_url)})
    task = asyncio.create_task(agent.main(settings))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.usefixtures("running")
async def test_orders_and_reports_travel_over_the_broker(
    theatre: Theatre, workers: tuple[Broker, Reported]
) -> None:
    broker, reported = workers
    hello = await reported.wait(NodeHello)
    await reported.wait(NodeHeartbeat, times=2)
    inventory = await reported.wait(NodeInventory)
    order = theatre.create_order(
        spec=theatre.spec(image="greenroom-no-such-image:1"), epoch=hello.epoch
    )

    await broker.publish(order, command("node1"), expires_ms=60_000)
    failed = await reported.wait(WarmupFailed)
    await broker.publish(theatre.retire_order(order.notebook), command("node1"))
    gone = await reported.wait(NotebookGone)

    assert (hello.address, hello.epoch) == ("127.0.0.1", failed.epoch)
    assert hello.seq < inventory.seq < failed.seq < gone.seq
    assert inventory.complete
    assert (failed.notebook, failed.reason) == (order.notebook, "image_missing")
    assert gone.notebook == order.notebook


@pytest.mark.usefixtures("running")
async def test_what_is_no_command_is_quarantined_and_the_agent_goes_on(
    workers: tuple[Broker, Reported],
) -> None:
    broker, reported = workers
    hello = await reported.wait(NodeHello)

    await broker.publish(hello, command("node1"))
    found = await put_aside(broker, reported)

    assert [message.reason for message in found] == ["unknown"]


async def test_a_command_that_kept_coming_back_is_put_aside_and_the_agent_goes_on(
    amqp_url: str, theatre: Theatre, workers: tuple[Broker, Reported]
) -> None:
    """As after three agents that died of it."""
    broker, reported = workers
    await broker.declare_node("node1")
    await broker.publish(theatre.retire_order(str(uuid4())), command("node1"))
    await given_back(broker, "node.node1", times=TRIES)

    async with living(amqp_url, theatre):
        found = await put_aside(broker, reported)
        order = theatre.retire_order(str(uuid4()))
        await broker.publish(order, command("node1"))
        gone = await reported.wait(NotebookGone)

    assert [(message.reason, message.queue) for message in found] == [("repeated", "node.node1")]
    assert gone.notebook == order.notebook


@pytest.mark.usefixtures("running")
async def test_where_bad_commands_are_put_aside_is_declared_again_when_somebody_deleted_it(
    amqp_url: str, theatre: Theatre, workers: tuple[Broker, Reported]
) -> None:
    broker, reported = workers
    hello = await reported.wait(NodeHello)
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(f"{theatre.settings.installation}.quarantine")

    await broker.publish(hello, command("node1"))
    found = await put_aside(broker, reported)

    assert [message.reason for message in found] == ["unknown"]


async def given_back(broker: Broker, queue: str, *, times: int) -> None:
    """The only message there was read so many times and never settled."""
    read: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = await broker.consume(queue, read.put, prefetch=1)
    async with asyncio.timeout(DEADLINE_SECONDS):
        for _ in range(times):
            await (await read.get()).give_back()
        # It is in hand once more before this reader has stopped.
        delivery = await read.get()
        assert delivery.tries == times
        await consumer.cancel()
        await delivery.give_back()


async def put_aside(broker: Broker, reported: Reported) -> list[Quarantined]:
    """What is in quarantine, once there is something: looked at with every heartbeat."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with suppress(Unroutable):
                if found := await broker.quarantined():
                    return found
            await reported.wait(NodeHeartbeat, times=len(reported.of(NodeHeartbeat)) + 1)


async def test_an_agent_without_an_address_or_keys_says_what_to_set() -> None:
    nowhere = Settings(node=NodeSettings(address=None))
    everywhere = Settings(node=NodeSettings.model_validate({"address": "0.0.0.0"}))
    keyless = Settings(node=NodeSettings.model_validate({"address": "127.0.0.1"}), seal_keys=())

    with pytest.raises(BadSettings, match="GREENROOM_NODE__ADDRESS"):
        await agent.main(nowhere)
    with pytest.raises(BadSettings, match="every address"):
        await agent.main(everywhere)
    with pytest.raises(BadSettings, match="seal_keys"):
        await agent.main(keyless)
