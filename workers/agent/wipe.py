"""`python -m workers.agent.wipe`: remove all that this installation has on this node.

Containers, network, firewall rules and mounts, found by label and by the state directory's own
paths. Homes are unmounted and stay as they are. The agent must not be running.
"""

from __future__ import annotations

import asyncio
import sys

from controlplane.clients.docker import Docker, Engine
from controlplane.errors import Conflict, GreenroomError
from controlplane.settings import Settings, load
from workers.agent import epoch, firewall, syscalls
from workers.agent.node import bridge_name, network_name
from workers.agent.slots import Slots

TRY_FOR_SECONDS = 120.0
PAUSE_SECONDS = 0.5


async def wipe(settings: Settings, engine: Engine) -> int:
    """The number of containers that were removed. `BadSettings` while an agent runs."""
    folder = settings.node_state_dir.absolute()
    lock = epoch.lock(folder)
    try:
        removed = await _remove_containers(settings, engine)
        slots = Slots(folder / "slots")
        if syscalls.mounted_below(folder / "slots"):
            for name in slots.names():
                slots.remove(name)
            slots.close()
        await engine.remove_network(network_name(settings))
        await firewall.remove(bridge_name(network_name(settings)))
        for file in (folder / "journal").glob("*.jsonl"):
            file.unlink()
    finally:
        epoch.unlock(lock)
    return removed


async def _remove_containers(settings: Settings, engine: Engine) -> int:
    ours = {
        "greenroom.installation": settings.installation,
        "greenroom.node": settings.node.name,
    }
    seen: set[str] = set()
    pause = 0.0
    async with asyncio.timeout(TRY_FOR_SECONDS):
        while listed := await engine.list(ours):
            for line in listed:
                seen.add(line.id)
                await _remove(engine, line.id)
            await asyncio.sleep(pause)
            # What is there still is being removed already, and takes its time.
            pause = PAUSE_SECONDS
    return len(seen)


async def _remove(engine: Engine, container: str) -> None:
    try:
        await engine.remove(container)
    except Conflict:
        return  # being removed already: the next look tells


async def _main() -> int:
    settings = load()
    engine = Docker(settings.node.docker_host)
    try:
        removed = await wipe(settings, engine)
    finally:
        await engine.close()
    sys.stdout.write(f"removed {removed} containers of {network_name(settings)}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(_main()))
    except GreenroomError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
