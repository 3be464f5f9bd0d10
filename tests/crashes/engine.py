"""`python -m tests.crashes.engine SOCKET LEDGER`: a Docker engine in a process of its own.

As much of the engine's API as an agent calls, in front of `benchmarks.simulated`: containers
outlive the agent that made them, which is what its crashes are about. While the file
`<SOCKET>.dies` is there, the next notebook that is activated dies of it; while
`<SOCKET>.waits` is there, activations wait inside their notebooks.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.simulated import Ledger, SimulatedEngine
from benchmarks.simulated import engine as simulated
from benchmarks.simulated.notebook import Notebook
from controlplane.errors import Conflict, Refused

IMAGE = "simulated"
STRANGER = {"greenroom.installation": "somebody-elses", "greenroom.node": "node1"}
KILLED = 137

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Mortal(Notebook):
    """A simulated notebook that may die of its activation, or take its time."""

    dies = Path()
    waits = Path()

    async def _accept(self, writer: asyncio.StreamWriter, order: dict[str, Any]) -> None:
        while self.waits.exists():  # noqa: ASYNC110 another process takes it away
            await asyncio.sleep(0.02)
        if not self.dies.exists():
            return await super()._accept(writer, order)
        self.dies.unlink()
        self._ended(KILLED)


class Api:
    """The HTTP side of an engine."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_errors])
        for prefix in ("", r"/{api:v[0-9.]+}"):
            for method, path, answer in self._routes():
                app.router.add_route(method, prefix + path, answer)
        return app

    def _routes(self) -> list[tuple[str, str, Answer]]:
        one = "/containers/{id}"
        return [
            ("GET", "/version", self._version),
            ("GET", "/info", self._info),
            ("GET", "/images/{name}/json", self._image),
            ("GET", "/networks/{name}", self._network),
            ("POST", "/networks/create", self._network_create),
            ("GET", "/events", self._events),
            ("GET", "/containers/json", self._list),
            ("POST", "/containers/create", self._create),
            ("GET", one + "/json", self._inspect),
            ("GET", one + "/logs", self._logs),
            ("POST", one + "/start", self._start),
            ("POST", one + "/update", self._nothing),
            ("POST", one + "/stop", self._stop),
            ("DELETE", one, self._remove),
        ]

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"Version": "1", "ApiVersion": "1.41", "MinAPIVersion": "1.24"})

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response({"ServerVersion": "simulated", "NCPU": 2})

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _image(self, request: web.Request) -> web.Response:
        found = await self._engine.image(request.match_info["name"])
        if found is None:
            raise Refused("no such image")
        config = {"User": found.user, "WorkingDir": found.directory}
        return web.json_response({"Id": found.id, "Config": config})

    async def _network(self, request: web.Request) -> web.Response:
        gateway = await self._engine.gateway(request.match_info["name"])
        if gateway is None:
            raise Refused("no such network")
        labels = self._engine._networks[request.match_info["name"]]
        return web.json_response({"Labels": labels, "IPAM": {"Config": [{"Gateway": gateway}]}})

    async def _network_create(self, request: web.Request) -> web.Response:
        config = await request.json()
        await self._engine.ensure_network(config["Name"], config)
        return web.json_response({"Id": config["Name"]}, status=201)

    async def _create(self, request: web.Request) -> web.Response:
        id = await self._engine.create(request.query["name"], await request.json())
        return web.json_response({"Id": id}, status=201)

    async def _start(self, request: web.Request) -> web.Response:
        try:
            await self._engine.start(request.match_info["id"])
        except Conflict as error:
            return web.json_response({"message": f"port is already allocated: {error}"}, status=500)
        return web.Response(status=204)

    async def _inspect(self, request: web.Request) -> web.Response:
        seen = await self._engine.inspect(request.match_info["id"])
        if seen is None:
            raise Refused("no such container")
        status = {"Status": seen.state, "ExitCode": seen.exit_code}
        found = {"Id": seen.id, "Config": {"Labels": dict(seen.labels)}, "State": status}
        return web.json_response(found)

    async def _list(self, request: web.Request) -> web.Response:
        lines = await self._engine.list(_labels(request))
        return web.json_response(
            [{"Id": x.id, "Labels": dict(x.labels), "State": x.state} for x in lines]
        )

    async def _logs(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._engine.log_tail(request.match_info["id"], lines=100))

    async def _stop(self, request: web.Request) -> web.Response:
        await self._engine.stop(request.match_info["id"], seconds=int(request.query["t"]))
        return web.Response(status=204)

    async def _remove(self, request: web.Request) -> web.Response:
        await self._engine.remove(request.match_info["id"])
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        seconds, _, nanoseconds = request.query["since"].partition(".")
        since = int(seconds) * 10**9 + int(nanoseconds or 0)
        async for event in self._engine.events(_labels(request), since=since):
            actor = {"ID": event.container, "Attributes": dict(event.labels)}
            line = {"Action": event.action, "Actor": actor, "timeNano": event.at}
            await answer.write(json.dumps(line).encode() + b"\n")
        return answer


def _labels(request: web.Request) -> dict[str, str]:
    wanted = json.loads(request.query.get("filters", "{}")).get("label", [])
    return {name: value for name, _, value in (pair.partition("=") for pair in wanted)}


@web.middleware
async def _errors(request: web.Request, handler: Answer) -> web.StreamResponse:
    try:
        return await handler(request)
    except Conflict as error:
        return web.json_response({"message": str(error)}, status=409)
    except Refused as error:
        return web.json_response({"message": str(error)}, status=404)


async def live(address: Path, ledger: Path) -> None:
    engine = SimulatedEngine((IMAGE,), ledger=Ledger(ledger))
    Mortal.dies, Mortal.waits = (address.with_suffix(word) for word in (".dies", ".waits"))
    simulated.Notebook = Mortal  # type: ignore[misc]  # the engine's kind of notebook
    await engine.create("somebody-elses", {"Image": IMAGE, "Labels": STRANGER})
    await engine.start("somebody-elses")
    runner = web.AppRunner(Api(engine).app())
    await runner.setup()
    await web.UnixSite(runner, str(address)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), Path(sys.argv[2])))
