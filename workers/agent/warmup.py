"""From an order to a warm notebook: record, slot, container, channel.

Safe to run again from the start: what an earlier agent made of it is found and kept.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from time import perf_counter

import structlog

from controlplane import failpoints, telemetry
from controlplane.clients.docker.engine import Image
from controlplane.errors import Conflict, GreenroomError, Refused, Retry
from controlplane.messages import WarmupCreated, WarmupFailed, WarmupReady
from workers.agent import channel, recipe
from workers.agent.channel import Hello, HungUp, NotListening
from workers.agent.dead import TAIL_LINES, last_words
from workers.agent.exits import WarmupError
from workers.agent.journal import Entry
from workers.agent.node import Node
from workers.agent.registry import Item, Leaving
from workers.agent.rehearsal import Rehearsals

# A connect that fails at once each time, for the seconds that a warm-up takes.
LOOK_SECONDS = 0.05
PORT_TRIES = 20


class Warmups:
    """Warms notebooks, a few at a time."""

    def __init__(self, node: Node, rehearsals: Rehearsals) -> None:
        self._node = node
        self._rehearsals = rehearsals
        self._log = structlog.get_logger("agent.warmup")

    async def run(self, item: Item) -> None:
        """Warm it, and report what became of it. Ends quietly if it is removed meanwhile."""
        async with self._node.creates:
            await self._node.turns.calm()
            begun = perf_counter()
            try:
                await self._warm(item)
                telemetry.WARMUP_SECONDS.observe(perf_counter() - begun)
            except WarmupError as error:
                await self._fail(item, error)
            except Leaving as error:
                self._log.info("warmup.stopped", notebook=item.entry.notebook, why=str(error))
            except Refused as error:
                await self._fail(item, WarmupError("refused", str(error)))
            except TimeoutError:  # which is an OSError, too
                budget = item.entry.budget_ms / 1000
                detail = f"not warm within its budget of {budget:g} s"
                await self._fail(item, WarmupError("deadline", detail))
            except (Retry, OSError) as error:
                await self._fail(item, WarmupError("engine", str(error)))
            except Exception as error:  # noqa: BLE001 - one notebook's bug must not stop a node
                self._log.exception("warmup.bug", notebook=item.entry.notebook)
                await self._fail(item, WarmupError("bug", type(error).__name__))

    def tell_ready(self, item: Item) -> None:
        """Report it warm, also once more."""
        entry = item.entry
        self._node.reports.post(
            WarmupReady,
            notebook=entry.notebook,
            container=entry.container,
            url=self._node.url(entry.port),
            warm_ms=entry.warm_ms,
        )

    def tell_created(self, item: Item) -> None:
        """Report its container, also once more."""
        entry = item.entry
        self._node.reports.post(WarmupCreated, notebook=entry.notebook, container=entry.container)

    def tell_failed(self, item: Item) -> None:
        """Report its failure, also once more."""
        entry = item.entry
        self._node.reports.post(
            WarmupFailed,
            notebook=entry.notebook,
            reason=entry.reason,
            detail=entry.detail,
            exit_code=entry.exit_code,
        )

    async def _warm(self, item: Item) -> None:
        entry = item.entry
        recipe.check(entry.spec, self._node.state_dir)
        image = await self._node.engine.image(entry.spec.image)
        if image is None:
            raise WarmupError(
                "image_missing",
                f"the image {entry.spec.image} is not on this node: pull or build it here, or "
                "name another one in the pool",
            )
        record = await self._rehearsals.record(entry.spec, image)
        async with asyncio.timeout(entry.budget_ms / 1000):
            if not entry.container:
                await self._create(item, image, record)
                self.tell_created(item)
            hello = await self._until_it_listens(item)
            await self._node.engine.set_cpu_shares(item.entry.container, recipe.READY_SHARES)
        await self._node.registry.step(
            item, phase="ready", warm_ms=hello.warm_ms, uid=hello.uid, gid=hello.gid
        )
        failpoints.reach("agent.warm.journaled")
        self.tell_ready(item)
        self._log.info("notebook.ready", notebook=entry.notebook, warm_ms=hello.warm_ms)

    async def _create(self, item: Item, image: Image, record: bytes) -> None:
        node, entry = self._node, item.entry
        node.slots.make(entry.notebook)
        await node.threads.disk(_put, node.slots.run(entry.notebook) / "record.json", record)
        for _ in range(PORT_TRIES):
            port = item.entry.port or node.ports.take()
            # The port is in the journal before anybody listens on it.
            await node.registry.step(item, port=port, directory=image.directory)
            container = await self._container(item.entry, image)
            failpoints.reach("agent.container.created")
            try:
                await node.engine.start(container)
            except Conflict as error:
                # Another process has it. It stays marked as taken: the next one tries further.
                self._log.info("port.taken", port=port, why=str(error))
                await node.engine.remove(container)
                await node.registry.step(item, port=0)
                continue
            failpoints.reach("agent.container.started")
            return await node.registry.step(item, phase="warming", container=container)
        raise WarmupError("ports", f"{PORT_TRIES} ports in a row were in use by other processes")

    async def _container(self, entry: Entry, image: Image) -> str:
        node = self._node
        name = recipe.container_name(node.place, entry.notebook)
        notebook = recipe.Notebook(
            notebook=entry.notebook,
            pool=entry.pool,
            revision=entry.revision,
            port=entry.port,
            run=node.slots.run(entry.notebook),
            home=node.slots.home(entry.notebook),
        )
        config = recipe.warm(node.place, entry.spec, image, notebook)
        try:
            return await node.engine.create(name, config)
        except Conflict:
            # Made by a call whose answer was lost, perhaps with another port: made anew.
            await self._remove_own(name, entry.notebook)
            return await node.engine.create(name, config)

    async def _remove_own(self, name: str, notebook: str) -> None:
        seen = await self._node.engine.inspect(name)
        if seen is None:
            return
        wanted = self._node.labels | {"greenroom.notebook": notebook}
        if any(seen.labels.get(key) != value for key, value in wanted.items()):
            raise WarmupError("engine", f"a container named {name} exists and is not ours")
        await self._node.engine.remove(seen.id)

    async def _until_it_listens(self, item: Item) -> Hello:
        run = self._node.slots.run(item.entry.notebook)
        while not item.ended.is_set():
            try:
                async with channel.connect(run) as connection:
                    return await connection.hello(item.entry.notebook)
            except (NotListening, HungUp):
                # Not yet, or its process is gone: then its end is on its way here.
                await asyncio.sleep(LOOK_SECONDS)
        raise Leaving("its container ended, which is reported by who saw it")

    async def _fail(self, item: Item, error: WarmupError) -> None:
        """Journal, keep the log, report. The container stays until it is retired."""
        node, entry = self._node, item.entry
        log = b""
        if entry.container:
            try:
                log = await node.engine.log_tail(entry.container, lines=TAIL_LINES)
                await node.threads.disk(node.dead.keep, entry.notebook, log)
            except (GreenroomError, OSError) as missing:
                self._log.warning("log.not_kept", notebook=entry.notebook, error=str(missing))
        detail = f"{error}\n{last_words(log)}".strip()[:2000]
        try:
            await node.registry.step(
                item, phase="failed", reason=error.reason, detail=detail, exit_code=error.exit_code
            )
        except Leaving:
            return
        self._log.warning("notebook.failed", notebook=entry.notebook, reason=error.reason)
        self.tell_failed(item)


def _put(file: Path, content: bytes) -> None:
    """Anew, whatever a container that was there before made of it."""
    file.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(file, flags, 0o644), "wb") as out:
        out.write(content)
        os.fchmod(out.fileno(), 0o644)
