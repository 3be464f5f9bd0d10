"""A real hub and a real lease worker: limits, from Postgres to the page and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from controlplane.messages import ActivateNotebook
from tests import conftest as given
from tests.lease.actors import Agent, accepted, activated
from tests.lease.conftest import House
from tests.spawner.hubs import Hub
from tests.spawner.person import Form, Person
from tests.spawner.worker import Notebook
from tests.truth import stage as truth

pytestmark = [pytest.mark.hub, pytest.mark.services]


class Answering(Agent):
    """A node whose notebooks are one HTTP server of this process."""

    base = ""

    async def _activate(self, command: ActivateNotebook, how: str) -> None:
        await self.says(accepted(command, self.node))
        served = activated(command, self.node)
        await self.says(served.model_copy(update={"url": self.base + command.prefix}))


@pytest.fixture
async def agent(house: House) -> AsyncIterator[Answering]:
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([(".*", Notebook)]))
    server.add_sockets(sockets)
    await house.broker.declare_node("node1")
    agent = Answering(house.broker, "node1")
    agent.base = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    await agent.read("node.node1")
    await truth.node(house.postgres, "node1")
    yield agent
    server.stop()


@pytest.fixture
async def hub(house: House, agent: Answering, amqp_url: str, tmp_path: Path) -> AsyncIterator[Hub]:
    await house.worker()
    specs = [
        truth.spec(display_name="One each", max_per_user=1),
        truth.spec("other", display_name="As many as you like"),
    ]
    await house.postgres.pools.apply(specs, remove_missing=False)
    for pool in ("demo", "other"):
        await house.warm(4, pool=pool)
    hub = Hub(
        tmp_path,
        amqp=amqp_url,
        installation=house.settings.installation,
        proxy=given.given("GREENROOM_TEST_PROXY"),
        more='c.GreenroomSpawner.pool = "demo"',
    )
    try:
        await hub.start()
        await hub.meet()
        yield hub
    finally:
        await hub.stop()


async def test_two_servers_of_one_person_at_once_are_one_server_and_one_refusal(hub: Hub) -> None:
    await hub.new_user("ada")

    both = await asyncio.gather(hub.spawn("ada", "a"), hub.spawn("ada", "b"))

    refused = next(answer for answer in both if answer.code != 201)
    assert sorted(answer.code for answer in both) == [201, 403]
    assert "1 is the limit for one person: stop one first" in refused.body.decode()


async def test_a_limit_is_seen_before_and_refused_after_and_gone_with_its_server(hub: Hub) -> None:
    await hub.spawn("bob", "work")
    bob = Person(hub, "bob")
    await bob.log_in()

    page = await bob.get("spawn", "bob", "play")
    refused = await bob.get("spawn", "bob", "play", query="?profile=demo")
    other = await bob.send(page)
    await hub.stop_server("bob", "work")
    await hub.until_gone("bob", "work")
    after = await hub.spawn("bob", "third", {"profile": "demo"})

    shown = unescape(page.body.decode())
    assert "You have 1 notebook of this pool already, and 1 is the limit." in shown
    assert "4 ready" in shown
    # The only one that can be started is chosen already.
    assert Form(page.body.decode()).fields["profile"] == "other"
    assert "you have 1 notebook of pool demo already (work)" in unescape(refused.body.decode())
    assert other.code == 302
    assert after.code == 201
