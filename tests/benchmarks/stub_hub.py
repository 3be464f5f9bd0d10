"""As much of a hub, and of its notebooks, as benchmarks use."""

from __future__ import annotations

import json
from pathlib import Path

from aiohttp import web


class StubHub:
    """Everybody's server is ready at once. `failing` people's starts fail; `mixed_up` people
    find somebody else's home."""

    def __init__(self, homes: Path) -> None:
        self.homes = homes
        self.servers: set[str] = set()
        self.started: list[str] = []
        self.failing: set[int] = set()
        self.mixed_up: set[int] = set()
        app = web.Application()
        app.router.add_get("/hub/api/users/{name}", self._user)
        app.router.add_post("/hub/api/users/{name}", self._made)
        app.router.add_post("/hub/api/users/{name}/server", self._start)
        app.router.add_delete("/hub/api/users/{name}/server", self._stop)
        app.router.add_get("/hub/api/users/{name}/server/progress", self._progress)
        app.router.add_get("/user/{name}/api/contents/{file}", self._contents)
        self.runner = web.AppRunner(app)

    async def open(self) -> str:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def _user(self, request: web.Request) -> web.Response:
        servers = {"": {}} if request.match_info["name"] in self.servers else {}
        return web.json_response({"servers": servers})

    async def _made(self, _: web.Request) -> web.Response:
        return web.json_response({}, status=201)

    async def _start(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.servers.add(name)
        self.started.append(name)
        return web.json_response({}, status=202)

    async def _stop(self, request: web.Request) -> web.Response:
        self.servers.discard(request.match_info["name"])
        return web.Response(status=204)

    async def _progress(self, request: web.Request) -> web.Response:
        events: list[dict[str, object]] = [{"progress": 70, "message": "found"}]
        if number(request.match_info["name"]) in self.failing:
            events.append({"progress": 100, "failed": True, "message": "no such pool"})
        else:
            events.append({"progress": 100, "ready": True})
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return web.Response(text=text, content_type="text/event-stream")

    async def _contents(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        wrong = number(name) in self.mixed_up
        home = self.homes / name
        text = "somebody else's" if wrong else (home / request.match_info["file"]).read_text()
        return web.json_response({"content": text})


def number(name: str) -> int:
    """Which of the people of a run this is: their names end with it."""
    return int(name.rpartition("n")[2])
