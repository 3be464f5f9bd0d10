"""Removing a notebook: its container, then its mounts, then its journal. Then it is gone.

Tried until nothing is left. A person's home is unmounted, never entered: no call here can
delete a file of anybody's.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from controlplane import failpoints
from controlplane.errors import Conflict, GreenroomError
from controlplane.messages import NotebookGone, RetireNotebook
from workers.agent.dead import TAIL_LINES
from workers.agent.node import Node
from workers.agent.registry import Item

# Jupyter shuts its kernels down on SIGTERM; a warm notebook has nothing to lose.
STOP_SECONDS = 5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0
AT_ONCE = 4


class Retirements:
    """Removes notebooks, a few at a time."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[str] = set()
        self._log = structlog.get_logger("agent.retirement")

    def start(self, command: RetireNotebook) -> None:
        """Begin, unless it is under way. One that is not here is gone already."""
        notebook = command.notebook
        if notebook in self._under_way:
            return
        self._under_way.add(notebook)
        item = self._node.registry.get(notebook)
        if item is not None:
            item.retiring = True
        work = self._until_gone(notebook, item)
        self._node.tasks.create_task(work, name=f"retirement {notebook}")

    async def _until_gone(self, notebook: str, item: Item | None) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while not await self._once(notebook, item):
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        finally:
            self._under_way.discard(notebook)
        self._node.reports.post(NotebookGone, notebook=notebook)
        self._log.info("notebook.gone", notebook=notebook)

    async def _once(self, notebook: str, item: Item | None) -> bool:
        """One try; False: look again later."""
        if item is not None:
            await item.stop_work()
        async with self._at_once:
            try:
                if item is not None and item.entry.phase != "removing":
                    await self._node.registry.step(item, phase="removing")
                failpoints.reach("agent.removal.journaled")
                await self._remove_containers(notebook, item)
                failpoints.reach("agent.container.removed")
                await self._node.threads.disk(self._node.slots.remove, notebook)
                failpoints.reach("agent.slot.removed")
                await self._forget(item)
                failpoints.reach("agent.journal.forgotten")
            except Conflict:
                return False  # the engine removes it already
            except (GreenroomError, OSError) as error:
                self._log.warning("notebook.not_gone_yet", notebook=notebook, error=str(error))
                return False
        return True

    async def _remove_containers(self, notebook: str, item: Item | None) -> None:
        """By label, so that one whose id was never learnt is found too."""
        engine = self._node.engine
        for found in await engine.list(self._node.labels | {"greenroom.notebook": notebook}):
            if found.state == "running" and item is not None and item.claimed_by:
                await self._stop(found.id, notebook)
            await engine.remove(found.id)

    async def _stop(self, container: str, notebook: str) -> None:
        # Its log is asked for while it still has one: somebody used it.
        with suppress(GreenroomError):
            await self._node.engine.stop(container, seconds=STOP_SECONDS)
            log = await self._node.engine.log_tail(container, lines=TAIL_LINES)
            await self._node.threads.disk(self._node.dead.keep, notebook, log)

    async def _forget(self, item: Item | None) -> None:
        if item is None:
            return
        self._node.ports.give_back(item.entry.port)
        await self._node.registry.forget(item)
