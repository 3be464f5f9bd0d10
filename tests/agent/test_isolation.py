"""What a notebook's neighbour can reach: looked at from inside a notebook."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import aiodocker
import pytest

from controlplane.clients.docker import Docker
from controlplane.messages import NodeHeartbeat, RunActivated, WarmupReady
from tests.agent.theatre import Theatre, get
from workers.agent import wipe
from workers.agent.firewall import Policy
from workers.agent.firewall.backend import find
from workers.agent.node import bridge_name

pytestmark = pytest.mark.engine

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("connected")
except OSError as error:
    print("no:", type(error).__name__)
"""


@pytest.fixture
async def exposed(
    engine: Docker, docker_host: str, image: str, installation: str, rehearsed: Path, tmp_path: Path
) -> AsyncIterator[Theatre]:
    """A node whose address its notebooks can reach, as on every real network."""
    peek = aiodocker.Docker(docker_host)
    # A bridge of its own gives the node one more address, on any machine.
    bridge = await peek.networks.create({"Name": f"{installation}-address", "Driver": "bridge"})
    shown = await bridge.show()
    theatre = Theatre(
        engine,
        docker_host,
        image,
        installation=installation,
        folder=tmp_path,
        address=shown["IPAM"]["Config"][0]["Gateway"],
    )
    shutil.copytree(rehearsed, theatre.records)
    try:
        async with asyncio.timeout(600):
            await theatre.open()
            yield theatre
    finally:
        await theatre.close()
        await bridge.delete()
        await peek.close()
        shutil.copytree(theatre.records, rehearsed, dirs_exist_ok=True)


async def from_inside(theatre: Theatre, notebook: str, host: str, port: int) -> str:
    """What a connection from inside this notebook comes to."""
    container = await theatre.peek.containers.get(theatre.container_name(notebook))
    run = await container.exec(["python3", "-c", CONNECT, host, str(port)])
    said = b""
    async with run.start(detach=False) as stream:
        while message := await stream.read_out():
            said += message.data
    return said.decode().strip().partition(":")[0]


@pytest.fixture
async def elsewhere(exposed: Theatre) -> AsyncIterator[int]:
    """A port of the node that is none of a notebook's business, on every address."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_notebook_reaches_its_hub_and_nothing_else_of_the_node(
    exposed: Theatre, elsewhere: int
) -> None:
    order = exposed.create_order()
    await exposed.take(order)
    await exposed.reported.wait(WarmupReady)
    hub = urlsplit(exposed.hub.url)
    assert hub.hostname
    assert hub.port
    gateway, address = await exposed.gateway(), exposed.agent.node.place.address
    ways = {
        "hub": (hub.hostname, hub.port),
        "the node": (address, elsewhere),
        "its gateway": (gateway, elsewhere),
        "metadata": ("169.254.169.254", 80),
        "a private address": ("10.255.255.254", 80),
    }

    seen = {name: await from_inside(exposed, order.notebook, *to) for name, to in ways.items()}
    await exposed.agent.firewall.change(nobody_s(exposed))
    opened = await from_inside(exposed, order.notebook, gateway, elsewhere)

    assert seen == {name: "connected" if name == "hub" else "no" for name in ways}
    # What was refused was refused by the rules, and by nothing else of this machine.
    assert opened == "connected"


def nobody_s(theatre: Theatre) -> Policy:
    """Rules that hold for another node's bridge, under this one's name."""
    policy = theatre.agent.firewall.policy
    assert policy is not None
    return replace(policy, bridge="gr-nobody")


async def test_rules_go_with_everything_else_of_a_node(exposed: Theatre) -> None:
    network = exposed.agent.node.place.network
    name = bridge_name(network).removeprefix("gr-")
    backend = await find()
    assert backend is not None
    before = await backend.held(name)
    await exposed.life.end()
    stopped = await backend.held(name)
    await wipe.wipe(exposed.settings, exposed.engine)

    # Notebooks outlive their agent, and so does what protects them.
    assert before == stopped != ""
    assert await backend.held(name) == ""


async def test_a_node_whose_notebooks_reach_no_hub_says_so_at_once(exposed: Theatre) -> None:
    await exposed.take(exposed.create_order())
    await exposed.reported.wait(WarmupReady)
    hub = exposed.hub.url
    gateway = await exposed.gateway()

    await exposed.take(exposed.surroundings(hub, f"http://{gateway}:1/hub/"))
    lost = await exposed.reported.wait(NodeHeartbeat, fits=lambda beat: bool(beat.unreachable_hubs))
    await exposed.take(exposed.surroundings(hub, hub))
    await exposed.reported.wait(
        NodeHeartbeat, fits=lambda beat: beat.seq > lost.seq and not beat.unreachable_hubs
    )

    assert lost.unreachable_hubs == ("hub2",)


async def test_a_neighbour_reaches_a_notebook_by_no_way(exposed: Theatre) -> None:
    exposed.home_of("alice")
    served, neighbour = exposed.create_order(), exposed.create_order()
    await exposed.take(served)
    await exposed.take(neighbour)
    await exposed.reported.wait(WarmupReady, times=2)
    await exposed.take(exposed.activate_order(served.notebook))
    activated = await exposed.reported.wait(RunActivated)
    seen = await exposed.engine.inspect(exposed.container_name(served.notebook))
    assert seen is not None
    published = urlsplit(activated.url)
    hub = urlsplit(exposed.hub.url)
    gateway = await exposed.gateway()
    assert published.hostname
    assert published.port
    assert hub.hostname
    assert hub.port

    from_the_node, _ = await get(f"{activated.url}/user/alice/api")
    ask = neighbour.notebook
    to_itself = await from_inside(exposed, served.notebook, "127.0.0.1", 8888)
    to_the_hub = await from_inside(exposed, ask, hub.hostname, hub.port)
    to_its_address = await from_inside(exposed, ask, seen.address, 8888)
    to_its_port = await from_inside(exposed, ask, published.hostname, published.port)
    through_the_gateway = await from_inside(exposed, ask, gateway, published.port)

    # What works shows that the rest fails because of us.
    assert (from_the_node, to_itself, to_the_hub) == (200, "connected", "connected")
    assert (to_its_address, to_its_port, through_the_gateway) == ("no", "no", "no")
