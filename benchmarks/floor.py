"""The hub's floor: a spawner whose server is a stub in the hub's own process, ready at once."""

from __future__ import annotations

import json
from typing import Any

from jupyterhub.spawner import Spawner
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


class Stub(RequestHandler):
    """Answers everything the way `/api` of a notebook answers."""

    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"version": "0"}))


class FloorSpawner(Spawner):
    """Starts nothing: what remains is what the hub itself costs."""

    _port: int | None = None
    _running = False

    async def start(self) -> str:
        if FloorSpawner._port is None:
            sockets = bind_sockets(0, "127.0.0.1")
            HTTPServer(Application([(".*", Stub)])).add_sockets(sockets)
            FloorSpawner._port = int(sockets[0].getsockname()[1])
        self._running = True
        return f"http://127.0.0.1:{FloorSpawner._port}"

    async def stop(self, now: bool = False) -> None:
        self._running = False

    async def poll(self) -> int | None:
        return None if self._running else 0

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._running = False
