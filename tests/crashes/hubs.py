"""`python -m tests.crashes.hubs FOLDER USER POOL start|stop`: a hub with one person's spawner.

It does with the spawner what JupyterHub does, in its order (jupyterhub/user.py, app.py): the
row that says "running" before `start()`, what `get_state()` says after it; after its own start
`load_state`, `poll`, and `get_url` for what runs. The row is FOLDER/row.json; what came of the
wish is FOLDER/outcome.json. It then lives on, as hubs do.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from jupyterhub import orm

from controlplane.spawner import GreenroomSpawner
from tests.spawner import stage

HUB = "killed-hub"


class Row:
    """What the hub's database keeps of this server."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "row.json"
        told = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.running: bool = told.get("running", False)
        self.state: dict[str, Any] = told.get("state", {})

    def save(self, *, running: bool, state: dict[str, Any]) -> None:
        self.running, self.state = running, state
        _write(self._file, {"running": running, "state": state})


async def live(folder: Path, user: str, pool: str, wish: str) -> None:
    row = Row(folder)
    keys = [os.environ["GREENROOM_SEAL_KEYS"]]
    spawner = stage.spawner(user=user, running=row.running, pool=pool, hub_id=HUB, seal_keys=keys)
    url = await _recover(spawner, row)
    if wish == "start" and not row.running:
        url = await _start(spawner, row, user)
    if wish == "stop" and row.running:
        await spawner.stop()
        spawner.clear_state()
        row.save(running=False, state={})
        url = ""
    _write(folder / "outcome.json", {"wish": wish, "url": url})
    await asyncio.Event().wait()


async def _recover(spawner: GreenroomSpawner, row: Row) -> str:
    if not row.running:
        return ""
    spawner.load_state(row.state)
    if await spawner.poll() is None:
        url: str = await spawner.get_url()
        spawner.add_poll_callback(lambda *_: None)
        return url
    spawner.clear_state()
    spawner.orm_spawner.server = None
    row.save(running=False, state={})
    return ""


async def _start(spawner: GreenroomSpawner, row: Row, user: str) -> str:
    if spawner.orm_spawner.server is None:
        spawner.orm_spawner.server = orm.Server(
            base_url=f"/user/{user}/", proto="http", ip="127.0.0.1", port=1, cookie_name=""
        )
    row.save(running=True, state={})
    url: str = await spawner.start()
    row.save(running=True, state=spawner.get_state())
    spawner.add_poll_callback(lambda *_: None)
    return url


def _write(file: Path, content: Any) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(file)


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), *sys.argv[2:]))
