"""What became of our containers. The engine's stream is a hint; its list is looked at anyway.

The stream loses events when it is full, when the engine restarts and between reconnects, so
each reconnect and every ten seconds the list is compared with what we hold. An end is only
believed after an inspect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing

import structlog

from controlplane.clients.docker.engine import Listed, Seen
from controlplane.errors import GreenroomError, Unavailable
from controlplane.messages import RunExited, WarmupFailed
from workers.agent.dead import TAIL_LINES, last_words
from workers.agent.exits import reason_of
from workers.agent.node import Node
from workers.agent.registry import Item, Leaving

LOOK_EVERY_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
ENDINGS = frozenset({"die", "oom", "destroy", "kill", "stop"})


class Watch:
    """One node's containers, watched. `answering` is the engine's health."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._cursor = time.time_ns()
        self._looking = asyncio.Lock()
        self._looked_at = 0.0
        self._log = structlog.get_logger("agent.watch")
        self.answering = True
        self.strangers: Mapping[str, Listed] = {}

    async def follow(self) -> None:
        """The stream, for ever: look after each connect, then follow it until it ends."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    # The stream first: what ends between a list and a stream would be missed.
                    stream = group.create_task(self._stream())
                    await self.look()
                    pause = FIRST_PAUSE_SECONDS
                    await stream
            except* Unavailable as errors:
                self._log.info("stream.ended", error=str(errors.exceptions[0]))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def keep_looking(self) -> None:
        """The list, every ten seconds, whatever the stream says."""
        clock = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._looked_at + LOOK_EVERY_SECONDS - clock.time())
            # An inventory that goes out has looked as well.
            if clock.time() >= self._looked_at + LOOK_EVERY_SECONDS:
                await self.look()
                await self._node.threads.disk(self._node.dead.prune)

    async def look(self) -> bool:
        """Compare the engine's list with what we hold; True if it answered in full."""
        async with self._looking:
            self._looked_at = asyncio.get_running_loop().time()
            try:
                listed = await self._node.engine.list(self._node.labels)
            except GreenroomError as error:
                self.answering = False
                self._log.warning("engine.silent", error=str(error))
                return False
            self.answering = True
            by_notebook = {line.labels.get("greenroom.notebook", ""): line for line in listed}
            by_notebook.pop("", None)
            self.strangers = {
                name: line
                for name, line in by_notebook.items()
                if self._node.registry.get(name) is None
            }
            for item in self._node.registry:
                await self._compare(item, by_notebook.get(item.entry.notebook))
        return True

    async def _compare(self, item: Item, line: Listed | None) -> None:
        if not item.entry.container or item.ended.is_set() or item.retiring:
            return
        if line is None or line.state == "exited":
            await self.inspect(item)

    async def _stream(self) -> None:
        events = self._node.engine.events(self._node.labels, since=self._cursor)
        async with aclosing(events):
            async for event in events:
                self._cursor = max(self._cursor, event.at + 1)
                item = self._node.registry.get(event.labels.get("greenroom.notebook", ""))
                if item is not None and event.action in ENDINGS:
                    name = f"end of {item.entry.notebook}"
                    self._node.tasks.create_task(self.inspect(item), name=name)

    async def inspect(self, item: Item) -> None:
        """Ask the engine; act if its container ended."""
        if not item.entry.container or item.ended.is_set() or item.retiring:
            return
        try:
            seen = await self._node.engine.inspect(item.entry.container)
        except GreenroomError as error:
            self._log.warning("engine.silent", error=str(error))
            return
        if seen is None or seen.state == "exited":
            await self._ended(item, seen)

    async def _ended(self, item: Item, seen: Seen | None) -> None:
        if item.ended.is_set() or item.retiring:
            return
        item.ended.set()
        await item.stop_work()
        if item.entry.phase in ("failed", "exited", "removing"):
            return
        detail = await self._evidence(item, seen)
        reason = reason_of(seen, otherwise="exited") if seen else "removed"
        try:
            await self._node.registry.step(
                item,
                phase="exited",
                reason=reason,
                detail=detail,
                exit_code=seen.exit_code if seen else None,
                out_of_memory=bool(seen and seen.out_of_memory),
            )
        except Leaving:
            return
        self._log.warning("notebook.ended", notebook=item.entry.notebook, reason=reason)
        self.tell(item)

    def tell(self, item: Item) -> None:
        """Report the end, also once more."""
        entry, run = item.entry, item.entry.run
        about = {"notebook": entry.notebook, "exit_code": entry.exit_code, "detail": entry.detail}
        if run is None:
            self._node.reports.post(WarmupFailed, **about, reason=entry.reason)
        else:
            out_of_memory = entry.out_of_memory
            self._node.reports.post(
                RunExited, **about, lease=run.lease, out_of_memory=out_of_memory
            )

    async def _evidence(self, item: Item, seen: Seen | None) -> str:
        """Keep the log's end; its last words and the engine's, for the report."""
        if seen is None:
            return "its container was removed by somebody else"
        node, notebook = self._node, item.entry.notebook
        log = b""
        try:
            log = await node.engine.log_tail(seen.id, lines=TAIL_LINES)
            await node.threads.disk(node.dead.keep, notebook, log)
        except (GreenroomError, OSError) as error:
            self._log.warning("log.not_kept", notebook=notebook, error=str(error))
        # What a person's server wrote is theirs: only a warm notebook's log travels.
        words = last_words(log) if item.entry.run is None else ""
        return f"exited with code {seen.exit_code} {seen.error}\n{words}".strip()[:2000]
