"""What the agent's tests work with: orders as workers send them, reports as they come back."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import aiodocker
import aiohttp
from aiohttp import web
from cryptography.fernet import Fernet
from pydantic import SecretStr

from controlplane.clients.docker import Engine
from controlplane.messages import (
    ActivateNotebook,
    CreateNotebook,
    NodeSurroundings,
    Report,
    RetireNotebook,
)
from controlplane.model.pool import ContainerSpec, Storage
from controlplane.seal import Contents, Seal
from controlplane.settings import NodeSettings, Settings
from workers.agent import wipe
from workers.agent.agent import Agent

R = TypeVar("R", bound=Report)
DEADLINE_SECONDS = 240.0
BUDGET_MS = 220_000


class Reported:
    """Every report that an agent published, and a way to wait for one."""

    def __init__(self) -> None:
        self.all: list[Report] = []
        self._news = asyncio.Condition()

    async def publish(self, report: Report) -> None:
        async with self._news:
            self.all.append(report)
            self._news.notify_all()

    def of(self, kind: type[R]) -> list[R]:
        return [report for report in self.all if isinstance(report, kind)]

    async def wait(
        self, kind: type[R], *, fits: Callable[[R], bool] = lambda _: True, times: int = 1
    ) -> R:
        """The report that makes it so many."""

        def found() -> list[R]:
            return [report for report in self.of(kind) if fits(report)]

        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._news:
                await self._news.wait_for(lambda: len(found()) >= times)
        except TimeoutError:
            raise AssertionError(
                f"{times} {kind.__name__} did not come, but: "
                + "\n".join(str(report)[:600] for report in self.all)
            ) from None
        return found()[times - 1]


class Life:
    """One life of an agent: opened, and killed without a word to what it runs."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._opened = asyncio.Event()
        self._over = asyncio.Event()
        self.reported = Reported()
        self.agent: Agent | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> Agent:
        self._task = asyncio.create_task(self._live())
        waits = asyncio.create_task(self._opened.wait())
        await asyncio.wait([self._task, waits], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if self._task.done():
            self._task.result()
        assert self.agent is not None
        return self.agent

    async def end(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self.agent = Agent(self._settings, self._engine, self.reported.publish, tasks)
                await self.agent.open()
                self._opened.set()
                await self._over.wait()
        finally:
            if self.agent is not None:
                self.agent.close()


class StubHub:
    """As much of a hub as one server asks for, on the notebooks' own bridge."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def open(self, address: str) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/hub/"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        headers = {"X-JupyterHub-Version": "5.3.0"}
        return web.json_response({"version": "5.3.0"}, headers=headers)


class Theatre:
    """One node: its settings, its homes, and one agent after another."""

    def __init__(
        self,
        engine: Engine,
        docker_host: str,
        image: str,
        *,
        installation: str,
        folder: Path,
        address: str = "127.0.0.1",
    ) -> None:
        self.engine = engine
        self.image = image
        self.folder = folder
        self.homes = folder / "homes"
        self.records = folder / "state" / "records"
        self.key = Fernet.generate_key().decode()
        self.settings = Settings(
            installation=installation,
            seal_keys=(SecretStr(self.key),),
            node=NodeSettings.model_validate(
                {
                    "name": "node1",
                    "address": address,
                    "docker_host": docker_host,
                    "state_dir": str(folder / "state"),
                    # Away from where kernels take ports for outgoing connections.
                    "first_port": 12_000,
                    "last_port": 19_999,
                    "creates": 2,
                }
            ),
        )
        self.life = Life(self.settings, engine)
        self.hub = StubHub()
        self.peek = aiodocker.Docker(docker_host)

    @property
    def agent(self) -> Agent:
        assert self.life.agent is not None
        return self.life.agent

    @property
    def reported(self) -> Reported:
        return self.life.reported

    async def open(self) -> None:
        self.homes.mkdir(exist_ok=True)
        await self.life.begin()
        await self.hub.open(await self.gateway())
        await self.take(self.surroundings(self.hub.url))

    async def restart(self) -> None:
        """Kill the agent and start another on what it left."""
        await self.life.end()
        self.life = Life(self.settings, self.engine)
        await self.life.begin()

    async def close(self) -> None:
        await self.life.end()
        await self.hub.close()
        await self.peek.close()
        await wipe.wipe(self.settings, self.engine)

    async def gateway(self) -> str:
        """This node's address on the notebooks' bridge."""
        network = await self.peek.networks.get(self.agent.node.place.network)
        shown = await network.show()
        return str(shown["IPAM"]["Config"][0]["Gateway"])

    def home_of(self, user: str) -> Path:
        """Make this person's home, as their administrator would have."""
        home = self.homes / user
        home.mkdir(exist_ok=True)
        os.chown(home, 1000, 100)
        return home

    def spec(self, **changes: Any) -> ContainerSpec:
        given = {"image": self.image, "storage": Storage(root=str(self.homes)), **changes}
        return ContainerSpec.model_validate(given)

    def create_order(self, **changes: Any) -> CreateNotebook:
        spec = changes.pop("spec", None) or self.spec()
        order = {
            "notebook": str(uuid4()),
            "pool": "demo",
            "revision": 1,
            "spec_hash": spec.hash(),
            "spec": spec,
            "epoch": self.agent.node.reports.epoch,
            "budget_ms": BUDGET_MS,
        }
        return CreateNotebook.model_validate({**order, **changes})

    def activate_order(
        self, notebook: str, user: str = "alice", **changes: Any
    ) -> ActivateNotebook:
        lease = {
            "lease": str(uuid4()),
            "hub": "hub1",
            "user": user,
            "server": "",
            "prefix": f"/user/{user}/",
        }
        lease |= {name: changes.pop(name) for name in tuple(changes) if name in lease}
        sealed = changes.pop("sealed", None) or self.sealed(**lease)
        order = {
            **lease,
            "notebook": notebook,
            "attempt": 1,
            "epoch": self.agent.node.reports.epoch,
            "budget_ms": BUDGET_MS,
            "sealed": sealed,
        }
        return ActivateNotebook.model_validate({**order, **changes})

    def sealed(self, **lease: Any) -> str:
        """What a spawner seals."""
        expires_at = lease.pop("expires_at", datetime.now(UTC) + timedelta(minutes=10))
        contents = {
            **lease,
            "expires_at": expires_at,
            "environment": environment_of(lease["user"], lease["prefix"], self.hub.url),
        }
        return Seal([self.key]).close(Contents.model_validate(contents))

    def surroundings(self, *urls: str, **changes: Any) -> NodeSurroundings:
        """What workers tell an agent of these hubs."""
        hubs = [
            {"hub": f"hub{number}", "api_url": f"{url}api"} for number, url in enumerate(urls, 1)
        ]
        told = {"stamp": time.time_ns() // 10**6, "hubs": hubs}
        return NodeSurroundings.model_validate({**told, **changes})

    def retire_order(self, notebook: str) -> RetireNotebook:
        epoch = self.agent.node.reports.epoch
        return RetireNotebook(notebook=notebook, epoch=epoch, reason="stopped")

    async def take(self, command: Any) -> None:
        await self.agent.desk.take(command)

    async def settled(self, notebook: str) -> None:
        """Wait until what is under way with it has ended, its journal included."""
        item = self.agent.node.registry.get(notebook)
        assert item is not None
        if item.work is not None:
            await asyncio.wait([item.work], timeout=DEADLINE_SECONDS)

    def container_name(self, notebook: str) -> str:
        return f"{self.settings.installation}-{notebook}"


def environment_of(user: str, prefix: str, hub: str) -> dict[str, str]:
    """What a hub gives to jupyterhub-singleuser."""
    return {
        "JUPYTERHUB_API_TOKEN": f"token-of-{user}",
        "JUPYTERHUB_API_URL": f"{hub}api",
        # Empty: no activity is reported, as nobody listens for it.
        "JUPYTERHUB_ACTIVITY_URL": "",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{user}",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([f"access:servers!user={user}"]),
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": "[]",
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:1{prefix}",
        "JUPYTERHUB_USER": user,
    }


async def get(url: str) -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        return answer.status, await answer.text()
