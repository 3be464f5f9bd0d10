"""One installation whose processes a test kills: real services, real workers, one node.

The node's engine is a process of its own, so that containers outlive their agent. Every process
runs all the time, but for the one that a test starts armed in its place.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controlplane import failpoints
from controlplane.clients.docker import Docker
from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.rabbitmq.delivery import QUEUE
from controlplane.clients.rabbitmq.publisher import Parcel
from controlplane.messages import LeaseRelease, LeaseRequest, LeaseServing, encode
from controlplane.model import ContainerSpec, NodeState, PoolSpec
from controlplane.model.phases import EndReason
from controlplane.model.pool import Storage
from controlplane.seal import Contents, Seal
from controlplane.spawner.identity import lease_id
from tests.agent.theatre import environment_of
from tests.crashes.engine import IMAGE
from tests.crashes.processes import DEADLINE_SECONDS, Nursery, Process
from tests.lease.actors import Hub
from tests.truth.conftest import TIMEOUT_SECONDS
from tests.working.fault_proxy import FaultProxy

NODE = "node1"
WORKERS = ("agent", "lease", "refill", "liveness", "suspect")
BUDGET_MS = 600_000


class Stage:
    """Everything that one module's tests play on."""

    def __init__(self, folder: Path, urls: dict[str, str], installation: str) -> None:
        self.folder = folder
        self.installation = installation
        self.key = urls["GREENROOM_SEAL_KEYS"]
        self.nursery = Nursery(folder)
        self.processes: dict[str, Process] = {}
        self.ledger = folder / "ledger.jsonl"
        self.socket = folder / "engine.sock"
        self.homes = folder / "homes"
        self.state = folder / "agent"
        self.amqp_url = urls["GREENROOM_AMQP_URL"]
        self._urls = urls
        self._leaving = AsyncExitStack()
        self._chance = secrets.randbelow(200) + 1

    async def open(self) -> None:
        self.homes.mkdir()
        url, leaving = self._urls["GREENROOM_POSTGRES_URL"], self._leaving.push_async_callback
        self.broker = await Broker.connect(
            self.amqp_url, installation=self.installation, source="test"
        )
        leaving(self.broker.close)
        await self.broker.declare()
        self.postgres = await Postgres.connect(url, size=3, timeout_seconds=TIMEOUT_SECONDS)
        leaving(self.postgres.close)
        self.hub = Hub(self.broker, "hub1", "hub1-a")
        await self.hub.read("hub.hub1-a")
        self.engine = Docker(f"unix://{self.socket}", seconds=60)
        leaving(self.engine.close)
        leaving(self.nursery.close)
        await self.nursery.open()
        await self._start_engine()
        for name in WORKERS:
            await self.start(name)
        await self.until_node_is_ready()

    async def close(self) -> None:
        await self._leaving.aclose()

    def environment(self, **more: str) -> dict[str, str]:
        """What every process is told. Without a PATH there is no iptables, and no rule of ours."""
        return {
            **{name: value for name, value in os.environ.items() if name in ("HOME", "LANG")},
            **self._urls,
            "PATH": "",
            "GREENROOM_INSTALLATION": self.installation,
            "GREENROOM_NODE__NAME": NODE,
            "GREENROOM_NODE__ADDRESS": f"127.78.{self._chance}.1",
            "GREENROOM_NODE__STATE_DIR": str(self.state),
            "GREENROOM_NODE__DOCKER_HOST": f"unix://{self.socket}",
            "GREENROOM_NODE__FIRST_PORT": "12000",
            "GREENROOM_NODE__LAST_PORT": "19999",
            **more,
        }

    # Processes

    async def start(self, name: str, *, failpoint: str = "", **told: str) -> Process:
        """A worker; armed, it kills itself at the failpoint. `told`: other settings than usual."""
        armed = {failpoints.VARIABLE: failpoint, failpoints.SWITCH: "yes"} if failpoint else {}
        process = await self.nursery.start(
            name, "workers.__main__", name, environment=self.environment(**armed, **told)
        )
        self.processes[name] = process
        return process

    async def start_hub(
        self, folder: Path, pool: str, wish: str, *, failpoint: str = ""
    ) -> Process:
        """A hub with one person, who wishes this."""
        (folder / "outcome.json").unlink(missing_ok=True)
        armed = {failpoints.VARIABLE: failpoint, failpoints.SWITCH: "yes"} if failpoint else {}
        arguments = (str(folder), folder.name, pool, wish)
        environment = self.environment(**armed)
        process = await self.nursery.start(
            "hub", "tests.crashes.hubs", *arguments, environment=environment
        )
        self.processes["hub"] = process
        return process

    async def kill(self, *names: str) -> None:
        for name in names:
            await self.processes[name].kill()

    @asynccontextmanager
    async def killed(self, name: str, failpoint: str) -> AsyncIterator[None]:
        """Inside, the process is one that will kill itself there; afterwards it did, and a new
        one runs."""
        await self.kill(name)
        armed = await self.start(name, failpoint=failpoint)
        yield
        await self.dies_at(armed, failpoint)
        await self.start(name)

    async def dies_at(self, armed: Process, failpoint: str) -> None:
        await armed.over()
        assert armed.code == -signal.SIGKILL, armed.told()[-6000:]
        assert f"failpoint.reached: kill at {failpoint}" in armed.told()

    @asynccontextmanager
    async def without(self, *names: str) -> AsyncIterator[None]:
        """Nobody does their work meanwhile."""
        await self.kill(*names)
        yield
        for name in names:
            await self.start(name)

    @asynccontextmanager
    async def over(self, road: FaultProxy, variable: str, *names: str) -> AsyncIterator[None]:
        """These processes reach the service that the variable names over a road that can be
        cut; afterwards they are started as usual."""
        await road.open()
        await self.kill(*names)
        for name in names:
            await self.start(name, **{variable: road.url})
        try:
            yield
        finally:
            await self.kill(*names)
            await road.close()
            for name in names:
                await self.start(name)

    async def mend(self) -> None:
        """Whatever a test left: every process runs as usual, nobody has anything."""
        for file in (self.dies, self.waits):
            file.unlink(missing_ok=True)
        for name in WORKERS:
            process = self.processes[name]
            if process.code is not None or "failpoint.armed" in process.told():
                await process.kill()
                await self.start(name)
        for lease in await self.postgres.leases.list():
            await self.postgres.leases.release(lease.lease, lease.hub, EndReason.STOPPED)
        await self.postgres.pools.apply([], remove_missing=True)

    async def _start_engine(self) -> None:
        arguments = (str(self.socket), str(self.ledger))
        self.processes["engine"] = await self.nursery.start(
            "engine", "tests.crashes.engine", *arguments, environment=self.environment()
        )

        async def listens() -> bool:
            return self.socket.exists()

        await self.until(listens, "the engine listens")

    # People

    async def pool(self, *, warm: int = 2, maximum: int = 10, ready: bool = True) -> str:
        """A pool of this test alone; by default as soon as it is warm."""
        name = f"p{secrets.token_hex(4)}"
        storage = Storage(root=str(self.homes), create_missing=True)
        container = ContainerSpec(image=IMAGE, storage=storage)
        spec = PoolSpec(name=name, container=container, warm=warm, maximum=maximum)
        await self.postgres.pools.apply([spec], remove_missing=False)
        if ready:
            await self.until_ready(name, warm)
        return name

    async def until_ready(self, pool: str, count: int) -> None:
        async def ready() -> bool:
            return (await self.counts(pool)).get("ready", 0) == count

        await self.until(ready, f"{count} ready in {pool}")

    async def counts(self, pool: str) -> dict[str, int]:
        return (await self.postgres.notebooks.counts()).get(pool, {})

    def request(self, pool: str, *, user: str = "", budget_ms: int = BUDGET_MS) -> LeaseRequest:
        """What a spawner sends for somebody."""
        user = user or f"user{secrets.token_hex(4)}"
        about = {
            "lease": lease_id(),
            "hub": "hub1",
            "user": user,
            "server": "",
            "prefix": f"/user/{user}/",
        }
        contents = {
            **about,
            "expires_at": datetime.now(UTC) + timedelta(minutes=30),
            "environment": environment_of(user, about["prefix"], "http://192.0.2.1/hub/"),
        }
        sealed = Seal([self.key]).close(Contents.model_validate(contents))
        more = {"hub_process": "hub1-a", "pool": pool, "budget_ms": budget_ms, "sealed": sealed}
        return LeaseRequest.model_validate({**about, **more})

    async def asks(self, pool: str, *, budget_ms: int = BUDGET_MS) -> LeaseRequest:
        request = self.request(pool, budget_ms=budget_ms)
        await self.hub.asks(request)
        return request

    def release_of(self, request: LeaseRequest) -> LeaseRelease:
        return LeaseRelease(lease=request.lease, hub=request.hub, reason="stopped")

    async def suspect(self, request: LeaseRequest) -> None:
        """Put it where a reader moves one that it finds delivered before."""
        parcel = Parcel(
            exchange=f"{self.installation}.suspect",
            key="",
            body=encode(request, id=secrets.token_hex(16), source="test", time=""),
            message_id=secrets.token_hex(16),
            headers={QUEUE: "lease.requests"},
        )
        await self.broker._publisher.send(parcel, seconds=DEADLINE_SECONDS)

    @property
    def dies(self) -> Path:
        """While it is there, the next notebook that is activated dies of it, and takes it away."""
        return self.socket.with_suffix(".dies")

    @property
    def waits(self) -> Path:
        """While it is there, activations wait inside their notebooks."""
        return self.socket.with_suffix(".waits")

    def new_folder(self) -> Path:
        """A hub's, named as its only user."""
        folder = self.folder / f"user{secrets.token_hex(4)}"
        folder.mkdir()
        return folder

    async def served(self, request: LeaseRequest) -> LeaseServing:
        """The answer, or how things are instead."""
        try:
            return await self.hub.hears(LeaseServing, request.lease)
        except TimeoutError:
            told = await self.postgres.leases.trace(request.lease)
            raise AssertionError(f"never served: {json.dumps(told, default=str)}") from None

    async def until_node_is_ready(self) -> None:
        async def ready() -> bool:
            return [n.state for n in await self.postgres.nodes.list()] == [NodeState.READY]

        await self.until(ready, "the node is ready")

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Rows and files make no sound: they are looked at until the deadline."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await holds():  # noqa: ASYNC110
                    await asyncio.sleep(0.03)
        except TimeoutError:
            logs = "\n".join(f"{n}:\n{p.told()[-2500:]}" for n, p in self.processes.items())
            raise AssertionError(f"{what}: not in {DEADLINE_SECONDS} s\n{logs}") from None
