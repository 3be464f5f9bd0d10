"""A Greenroom on several machines, which are network namespaces of this one.

node1, node2   each a real `dockerd` and an agent; notebooks publish on the node's address
hub            JupyterHub and configurable-http-proxy
this machine   the workers, and a forwarder that takes hub and agents to RabbitMQ
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from controlplane.clients.postgres import Postgres
from controlplane.model import Lease, NodeState, NotebookPhase
from scripts.stack import commands, demo, engine, image, mounts, ports, processes
from scripts.stack.places import Place
from scripts.stack.processes import Program
from scripts.stack.services import Urls
from scripts.stack.up import greenroom
from tests.e2e.house import House
from tests.nodes import wire
from tests.nodes.wire import HUB, NODES, Wire

FORWARDER = "forwarder"
POOL = """
[[pools]]
name = "demo"
warm_per_node = 1
maximum = {maximum}

[pools.container]
image = "{image}"

[pools.container.storage]
root = "{homes}"
template = "{{username}}"
create_missing = true
"""


@dataclass(frozen=True, kw_only=True)
class Spread(demo.Demo):
    """The demo's programs, each on its own machine."""

    wire: Wire
    engines: Mapping[str, str]

    def programs(self) -> list[Program]:
        given = {program.name: program for program in super().programs()}
        agent = given.pop("agent")
        hub, proxy = given.pop(demo.HUB), given.pop(demo.PROXY)
        asks = {**hub.environment, "GREENROOM_AMQP_URL": self.amqp}
        return [
            self._forwarder(),
            *(self._inside(node, replace(agent, name=node), self.of_node(node)) for node in NODES),
            *given.values(),
            self._inside(HUB, proxy, proxy.environment),
            self._inside(HUB, hub, asks),
        ]

    def answers(self, name: str) -> bool:
        if name in NODES:
            return demo.answers(f"http://{self.wire.address(name)}:{self._port(name)}/healthz")
        if name == FORWARDER:
            return ports.answers(self._port(FORWARDER), self.wire.machine)
        if name == demo.PROXY:
            return ports.answers(self.hub_port, self.public_address)
        return super().answers(name)

    @property
    def amqp(self) -> str:
        """RabbitMQ, as hub and agents reach it."""
        url = urlsplit(self.urls.amqp)
        login, at, _ = url.netloc.rpartition("@")
        there = f"{login}{at}{self.wire.machine}:{self._port(FORWARDER)}"
        return urlunsplit(url._replace(netloc=there))

    def of_node(self, node: str) -> dict[str, str]:
        """The settings of one agent, which gets neither Postgres nor Redis."""
        settings = self.settings()
        return {
            **{name: settings[name] for name in ("GREENROOM_INSTALLATION", "GREENROOM_SEAL_KEYS")},
            "GREENROOM_AMQP_URL": self.amqp,
            "GREENROOM_HTTP_HOST": self.wire.address(node),
            "GREENROOM_HTTP_PORT": str(self._port(node)),
            "GREENROOM_NODE__NAME": node,
            "GREENROOM_NODE__ADDRESS": self.wire.address(node),
            "GREENROOM_NODE__DOCKER_HOST": self.engines[node],
            "GREENROOM_NODE__STATE_DIR": str(self.place.directory / f"{node}-state"),
        }

    def _inside(self, house: str, program: Program, environment: Mapping[str, str]) -> Program:
        words = (*self.wire.inside(house), *program.command)
        return replace(program, command=words, environment=environment)

    def _forwarder(self) -> Program:
        url = urlsplit(self.urls.amqp)
        here = f"{self.wire.machine}:{self._port(FORWARDER)}"
        there = f"{url.hostname}:{url.port or 5672}"
        words = (str(self.environment.python), "-m", "tests.nodes.forward", here, there)
        return Program(name=FORWARDER, command=words, stop_seconds=5)

    def _port(self, name: str) -> int:
        return ports.port_for(self.place, f"http-{name}")


@dataclass(frozen=True, kw_only=True)
class Street(House):
    """The whole of it, and what tests do to it."""

    stack: Spread
    image: str

    @property
    def wire(self) -> Wire:
        return self.stack.wire

    def stop_all(self) -> None:
        for name in reversed(processes.names(self.stack.place)):
            processes.stop(self.stack.place, name)

    def apply_pool(self, *, maximum: int) -> None:
        """One warm notebook on each node, and so many in all."""
        homes = self.stack.homes
        homes.mkdir(exist_ok=True)
        file = self.stack.place.directory / "pools.toml"
        file.write_text(POOL.format(maximum=maximum, image=self.image, homes=homes))
        greenroom(self.stack, "pools", "apply", "-f", str(file))

    @asynccontextmanager
    async def without_agent(self, node: str) -> AsyncIterator[None]:
        """Its agent is killed, and everybody knows that it is silent; another one afterwards."""
        self.kill(node)
        try:
            suspect = NodeState.SUSPECT
            await self.until(
                lambda: asyncio.run(self.state_of(node)) == suspect, f"{node} is suspect"
            )
            yield
        finally:
            await asyncio.to_thread(self.start, node)

    @asynccontextmanager
    async def postgres(self) -> AsyncIterator[Postgres]:
        """The tables, to look at."""
        opened = await Postgres.connect(self.stack.urls.postgres, size=1, timeout_seconds=30)
        try:
            yield opened
        finally:
            await opened.close()

    async def offered(self) -> list[str]:
        """The nodes of the notebooks that a new person could get, in order."""
        async with self.postgres() as postgres:
            return sorted(notebook.node for notebook in await postgres.notebooks.offerable())

    async def state_of(self, node: str) -> NodeState:
        """This node's state. Asked of the tables: starting a command each time costs a second."""
        async with self.postgres() as postgres:
            rows = await postgres.nodes.list()
        return next(row.state for row in rows if row.node == node)

    async def warm_on(self, node: str) -> set[str]:
        """The notebooks that nobody has there, offered or not."""
        async with self.postgres() as postgres:
            rows = await postgres.notebooks.list(node=node)
        return {row.notebook for row in rows if row.phase is NotebookPhase.READY}

    async def lease_of(self, user: str) -> Lease:
        """This person's only lease that has not ended."""
        async with self.postgres() as postgres:
            leases = await postgres.leases.list(pool="demo")
        (lease,) = [one for one in leases if one.user == user]
        return lease

    async def until_offered(self, *nodes: str) -> None:
        """Wait until exactly these nodes offer one warm notebook each."""
        await self.until(lambda: asyncio.run(self.offered()) == sorted(nodes), f"warm on {nodes}")

    def on_bridges(self, node: str) -> list[str]:
        """The addresses that this node's containers have behind it."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        docker = ("docker", "--host", self.stack.engines[node])
        names = (commands.read([*docker, "ps", "-q"]) or "").split()
        told = commands.read([*docker, "inspect", "--format", form, *names]) if names else None
        return (told or "").split()

    def inside(self, house: str, *words: str) -> str:
        """What this command says there."""
        told = commands.read([*self.wire.inside(house), *words])
        assert told is not None, f"{words} failed on {house}"
        return told


def build(place: Place, *, urls: Urls, docker_host: str, tag: str) -> Street:
    """Namespaces, engines with the image on them, schema: all that is there before an agent."""
    joined = Wire(name=place.name, network=wire.free_network())
    joined.lay(place.log / "wire.log")

    def start_engine(node: str) -> str:
        started = engine.start_private(place.directory / node, namespace=joined.namespace(node))
        image.copy(tag, source=docker_host, target=started, say=print)
        return started

    with ThreadPoolExecutor() as both:
        engines = dict(zip(NODES, both.map(start_engine, NODES), strict=True))
    stack = Spread(
        place=place,
        urls=urls,
        docker_host=docker_host,
        gateway=joined.address(HUB),
        public_address=joined.address(HUB),
        hub_port=ports.port_for(place, "public"),
        wire=joined,
        engines=engines,
    )
    for words in (("db", "upgrade"), ("topology", "apply")):
        greenroom(stack, *words)
    return Street(stack=stack, image=tag)


def tear_down(place: Place) -> None:
    """Everything below this directory ends and goes, whatever is left of it, whatever fails."""
    with ExitStack() as last_first:
        last_first.callback(_remove, place.directory)
        last_first.callback(wire.remove, place.name)
        last_first.callback(_stop_engines, place)
        for name in processes.names(place):
            last_first.callback(processes.stop, place, name)


def _stop_engines(place: Place) -> None:
    """Their containers end with them."""

    def stop(node: str) -> None:
        engine.stop(place.directory / node)
        engine.wipe(place.directory / node)

    with ThreadPoolExecutor() as both:
        list(both.map(stop, NODES))


def _remove(directory: Path) -> None:
    mounts.unmount_below(directory)
    shutil.rmtree(directory)
