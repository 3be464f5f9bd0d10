"""The agent as a process: orders come over a real broker, reports go back the same way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from pydantic import SecretStr

from controlplane.clients.rabbitmq import Broker, Delivery, command
from controlplane.errors import BadSettings
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
    await theatre.life.end()
    settings = theatre.settings.model_copy(update={"amqp_url": SecretStr(amqp_url)})
    task = asyncio.create_task(agent.main(settings))
    yield
    assert not task.done()
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
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (found := await broker.quarantined()):
            await reported.wait(NodeHeartbeat, times=len(reported.of(NodeHeartbeat)) + 1)

    assert [message.reason for message in found] == ["unknown"]


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
