"""What a hub's login may do in RabbitMQ, on the broker that `scripts/test` runs."""

from __future__ import annotations

import asyncio
import re
import secrets
import shlex
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from controlplane.clients.rabbitmq import Broker, Delivery, Route, command, hub, request
from controlplane.clients.rabbitmq import permissions as rights
from controlplane.errors import GreenroomError
from controlplane.messages import HubHello, LeaseEnded, RetireNotebook
from scripts.stack import ports, rabbitmq
from scripts.stack.places import TEST
from scripts.stack.processes import is_running

HELLO = HubHello(hub="hub1", hub_process="hub1-a", api_url="http://192.0.2.5:8081/hub/api")
ORDER = RetireNotebook(notebook="0192f3a1-5b7c-7d3e-8f10-aaaaaaaaaaaa", epoch=1)
ANSWER = LeaseEnded(lease="0192f3a1-5b7c-7d3e-8f10-bbbbbbbbbbbb", reason="died")

NOT_THEIRS = (
    command("node1"),
    Route("", "node.node1"),
    Route("", "lease.requests"),
    Route("events", "report.node.hello.node1"),
)


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("lab.requests", True, False),
        ("lab.quarantine", True, False),
        ("lab.commands", False, False),
        ("lab.events", False, False),
        ("lab.suspect", False, False),
        ("lab.hub.hub1-a", False, True),
        ("lab.node.node1", False, False),
        ("lab.lease.requests", False, False),
        ("labs.requests", False, False),
        ("amq.default", False, False),
    ],
)
def test_a_hub_s_login_reaches_two_exchanges_and_its_own_queues(
    name: str, write: bool, read: bool
) -> None:
    hubs = rights.hub("lab")

    assert bool(re.search(hubs.write, name)) is write
    assert bool(re.search(hubs.read, name)) is read
    assert bool(re.search(hubs.configure, name)) is read


def test_a_name_with_a_dot_is_that_name_alone() -> None:
    assert not re.search(rights.hub("a.b").write, "axb.requests")
    assert re.search(rights.inner("a-b").write, "a-b.commands")


@pytest.fixture
def login(amqp_url: str, installation: str) -> Iterator[str]:
    """The URL of a login that may do what a hub may."""
    # Which lines it takes is tested everywhere; a broker that somebody else runs stays as it is.
    ours = ports.port_for(TEST, rabbitmq.NAME) if is_running(TEST, rabbitmq.NAME) else None
    if urlsplit(amqp_url).port != ours:
        pytest.skip("rabbitmqctl reaches the broker of scripts/test alone")
    name, password = f"hub-{secrets.token_hex(4)}", secrets.token_hex(8)
    line = shlex.split(rights.hub(installation).command(name, "/"))
    assert rabbitmq.control(TEST, "add_user", name, password) is not None
    assert rabbitmq.control(TEST, *line[1:]) is not None
    parts = urlsplit(amqp_url)
    try:
        yield urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}"))
    finally:
        rabbitmq.control(TEST, "delete_user", name)


async def test_a_hub_asks_and_hears_and_orders_nothing(
    login: str, amqp_url: str, installation: str
) -> None:
    inside = await Broker.connect(amqp_url, installation=installation, source="worker")
    outside = await Broker.connect(login, installation=installation, source="hub")
    heard = asyncio.Event()

    async def hear(delivery: Delivery) -> None:
        await delivery.ack()
        heard.set()

    try:
        await inside.declare()
        await inside.declare_node("node1")
        consumer = await outside.consume("hub.hub1-a", hear, prefetch=1)
        async with asyncio.timeout(60):
            await consumer.consuming.wait()
            await outside.publish(HELLO, request(HELLO))
            await inside.publish(ANSWER, hub("hub1-a"))
            await heard.wait()
        refused = [await _refused(outside, ORDER, route) for route in NOT_THEIRS]
        allowed = [not await _refused(inside, ORDER, route) for route in NOT_THEIRS]
    finally:
        await outside.close()
        await inside.close()

    assert refused == [True] * len(NOT_THEIRS)
    # Each of these ways leads somewhere, for whoever may take it.
    assert allowed == [True] * len(NOT_THEIRS)


async def _refused(broker: Broker, body: RetireNotebook, route: Route) -> bool:
    try:
        await broker.publish(body, route)
    except GreenroomError:
        return True
    return False
