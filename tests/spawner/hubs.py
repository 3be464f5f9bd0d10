"""A real JupyterHub with a real configurable-http-proxy, as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from tests.spawner.stage import KEY

SECONDS = 180.0
TRIES = 3

CONFIG = """
c.JupyterHub.spawner_class = "greenroom"
c.JupyterHub.bind_url = {public!r}
c.JupyterHub.hub_bind_url = {hub!r}
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
# A busy machine is no reason for another answer.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 150}}
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = {proxy!r}
c.ConfigurableHTTPProxy.auth_token = {token!r}
c.JupyterHub.services = [{{"name": "tester", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{
    "name": "tester",
    "scopes": ["admin:users", "admin:servers", "access:servers", "read:hub"],
    "services": ["tester"],
}}]
# Notebooks of this test never call the hub; a loopback URL would be refused.
c.GreenroomSpawner.hub_connect_url = "http://hub.example:8081"
c.GreenroomSpawner.amqp_url = {amqp!r}
c.GreenroomSpawner.installation = {installation!r}
c.GreenroomSpawner.seal_keys = [{key!r}]
# What a test sees in time, it does not see by the periodic poll.
c.GreenroomSpawner.poll_interval = 3600
{more}
"""


class Hub:
    """One hub and its proxy in a directory; `kill` is kill -9, `start` starts it again."""

    def __init__(
        self, directory: Path, *, amqp: str, installation: str, proxy: str, more: str = ""
    ) -> None:
        self.directory = directory
        self.token = secrets.token_hex(16)
        self._given = {"amqp": amqp, "installation": installation, "more": more}
        self._program = proxy
        self._proxy: subprocess.Popen[bytes] | None = None
        self._hub: subprocess.Popen[bytes] | None = None
        self._base = "/base/"

    async def start(self) -> None:
        """Return when it answers through the proxy."""
        if self._proxy is None:
            await self._start_proxy()
        self._hub = self._run(
            [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"], "hub.log"
        )
        await self._answers(self._hub, f"{self.public}{self._base}hub/api/")

    async def meet(self, options: Any = None) -> None:
        """Return when it has met its broker and its lease worker, which a first start begins."""

        async def met() -> bool:
            await self.spawn("first", options=options)
            return await self._is("first", "", "ready")

        await _until(met)
        await self.stop_server("first")
        await self.until_gone("first")

    async def kill(self) -> None:
        """kill -9 of the hub; the proxy and its routes stay."""
        assert self._hub is not None
        self._hub.kill()
        await asyncio.to_thread(self._hub.wait, SECONDS)

    async def stop(self) -> None:
        for process in (self._hub, self._proxy):
            if process is not None and process.poll() is None:
                process.kill()
                await asyncio.to_thread(process.wait, SECONDS)

    @property
    def log(self) -> str:
        return (self.directory / "hub.log").read_text(errors="replace")

    @property
    def hub_id(self) -> str:
        return (self.directory / "greenroom-hub-id").read_text().strip()

    async def api(self, method: str, *path: str, body: Any = None) -> HTTPResponse:
        """Ask the hub's API; never raises for a status."""
        url = f"{self.public}{self._base}hub/api/{'/'.join(quote(p, safe='') for p in path)}"
        request = HTTPRequest(
            url,
            method=method,
            headers={"Authorization": f"token {self.token}"},
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            request_timeout=SECONDS,
        )
        # The one that is shared sends ten at once, and people in line are answered late.
        client = AsyncHTTPClient(force_instance=True)
        try:
            return await client.fetch(request, raise_error=False)
        finally:
            client.close()

    async def whoami(self, token: str) -> str | None:
        """Whose token that is; None: nobody's."""
        answer = await AsyncHTTPClient().fetch(
            f"{self.public}{self._base}hub/api/user",
            headers={"Authorization": f"token {token}"},
            raise_error=False,
            request_timeout=SECONDS,
        )
        return str(json.loads(answer.body)["name"]) if answer.code == 200 else None

    async def new_user(self, name: str) -> None:
        response = await self.api("POST", "users", name, body={})
        assert response.code in (201, 409), response.body

    async def spawn(self, user: str, server: str = "", options: Any = None) -> HTTPResponse:
        """Press start for somebody, whom this makes known to the hub."""
        await self.new_user(user)
        return await self.api("POST", *_path(user, server), body=options or {})

    async def stop_server(self, user: str, server: str = "") -> HTTPResponse:
        return await self.api("DELETE", *_path(user, server))

    async def servers(self, user: str) -> dict[str, Any]:
        """The hub's model of this user's servers."""
        response = await self.api("GET", "users", user)
        servers: dict[str, Any] = json.loads(response.body)["servers"]
        return servers

    async def until_ready(self, user: str, server: str = "") -> None:
        """Return as soon as the hub says that it is ready."""
        await _until(lambda: self._is(user, server, "ready"))

    async def until_pending(self, user: str, server: str = "") -> None:
        """Return as soon as the hub says that it starts."""
        await _until(lambda: self._is(user, server, "spawn"))

    async def until_gone(self, user: str, server: str = "") -> None:
        """Return as soon as the hub says that it neither runs nor is on its way."""
        await _until(lambda: self._is(user, server, ""))

    async def visit(self, user: str, *path: str) -> HTTPResponse:
        """Ask the user's server through the proxy."""
        address = "/".join(quote(part, safe="@") for part in ("user", user, *path))
        return await AsyncHTTPClient().fetch(
            f"{self.public}{self._base}{address}", raise_error=False, request_timeout=SECONDS
        )

    async def progress(self, user: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a start, until it is over."""
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        request = HTTPRequest(
            f"{self.public}{self._base}hub/api/users/{quote(user)}/server/progress",
            headers={"Authorization": f"token {self.token}"},
            streaming_callback=lambda chunk: lines.put_nowait(chunk.decode()),
            request_timeout=SECONDS,
        )
        fetch = asyncio.ensure_future(AsyncHTTPClient().fetch(request))
        fetch.add_done_callback(lambda done: lines.put_nowait(None))
        text = ""
        while (chunk := await lines.get()) is not None:
            text += chunk
            *whole, text = text.split("\n")
            for line in whole:
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))
        await fetch

    async def _start_proxy(self) -> None:
        for left in reversed(range(TRIES)):
            self._write_config(*_free_ports(3))
            self._proxy = self._run(self._proxy_command, "proxy.log")
            try:
                return await self._answers(self._proxy, f"{self._proxy_api}/api/routes", status=403)
            except AssertionError:
                # Somebody took one of the ports between looking and binding.
                if not left:
                    raise

    def _write_config(self, public: int, hub: int, api: int) -> None:
        self.public = f"http://127.0.0.1:{public}"
        self._proxy_api = f"http://127.0.0.1:{api}"
        self._proxy_command = [
            self._program, "--ip=127.0.0.1", f"--port={public}", "--api-ip=127.0.0.1",
            f"--api-port={api}", f"--default-target=http://127.0.0.1:{hub}",
            f"--error-target=http://127.0.0.1:{hub}{self._base}hub/error",
        ]  # fmt: skip
        text = CONFIG.format(
            public=f"{self.public}{self._base}",
            hub=f"http://127.0.0.1:{hub}",
            proxy=self._proxy_api,
            token=self.token,
            key=KEY,
            **self._given,
        )
        (self.directory / "jupyterhub_config.py").write_text(text)

    def _run(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"CONFIGPROXY_AUTH_TOKEN": self.token}
        with (self.directory / log).open("ab") as out:
            return subprocess.Popen(
                command, cwd=self.directory, env=environment, stdout=out, stderr=out
            )

    async def _answers(self, process: Any, url: str, status: int = 200) -> None:
        async def answers() -> bool:
            assert process.poll() is None, f"{process.args} ended:\n{self._logs()}"
            try:
                response = await AsyncHTTPClient().fetch(url, raise_error=False)
            except OSError:
                return False
            return response.code == status

        await _until(answers)

    async def _is(self, user: str, server: str, state: str) -> bool:
        model = (await self.servers(user)).get(server, {"ready": False, "pending": None})
        return state == ("ready" if model["ready"] else model["pending"] or "")

    def _logs(self) -> str:
        return "\n".join(
            p.read_text(errors="replace")[-4000:] for p in self.directory.glob("*.log")
        )


def _path(user: str, server: str) -> tuple[str, ...]:
    return ("users", user, "servers", server) if server else ("users", user, "server")


async def _until(wanted: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await wanted():  # noqa: ASYNC110 another process cannot set our events
            await asyncio.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, outside the range from which systems give out ports."""
    found: list[int] = []
    while len(found) < count:
        port = 10_000 + secrets.randbelow(9_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
