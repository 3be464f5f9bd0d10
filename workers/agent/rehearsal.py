"""The list of modules that a notebook of one revision imports: recorded once, kept for good.

Recorded in a container without network, home or user that is removed afterwards, so no list
ever comes from a container that somebody used.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import defaultdict
from pathlib import Path

import structlog

from controlplane.clients.docker.engine import Image, Seen
from controlplane.errors import GreenroomError
from controlplane.model.pool import ContainerSpec
from workers.agent import recipe
from workers.agent.dead import TAIL_LINES, last_words
from workers.agent.exits import WarmupError, reason_of
from workers.agent.node import Node

BUDGET_SECONDS = 240.0
LOOK_SECONDS = 0.25
LARGEST_RECORD = 1024 * 1024


class Rehearsals:
    """Records by the hash of what shapes a rehearsal."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._folder = node.state_dir / "records"
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._log = structlog.get_logger("agent.rehearsal")

    async def record(self, spec: ContainerSpec, image: Image) -> bytes:
        """The record, made first if there is none. `WarmupError` if the image cannot."""
        name = _name_of(spec, image)
        async with self._one_at_a_time[name]:
            file = self._folder / f"{name}.json"
            if not file.exists():
                await self._rehearse(spec, image, file)
            return await self._node.threads.disk(file.read_bytes)

    async def sweep(self) -> None:
        """Remove what an earlier agent left in the middle of a rehearsal."""
        for found in await self._node.engine.list(self._node.labels):
            name = found.labels.get("greenroom.rehearsal")
            if name:
                await self._remove(name, found.id)

    async def _rehearse(self, spec: ContainerSpec, image: Image, file: Path) -> None:
        node = self._node
        name = f"rehearsal-{file.stem[:8]}-{os.urandom(4).hex()}"
        self._log.info("rehearsal.started", image=spec.image)
        node.slots.make(name)
        container = ""
        try:
            run = node.slots.run(name)
            config = recipe.rehearsal(node.place, spec, image, name=name, run=run)
            container = await node.engine.create(f"{node.place.installation}-{name}", config)
            await node.engine.start(container)
            await self._judge(await self._end_of(container), container)
            record = await node.threads.disk(_read, run / "record.json")
            await node.threads.disk(_keep, file, record)
        finally:
            # Even when nobody waits for it any longer.
            await asyncio.shield(self._remove(name, container))

    async def _end_of(self, container: str) -> Seen | None:
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                while True:
                    seen = await self._node.engine.inspect(container)
                    if seen is None or seen.state == "exited":
                        return seen
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise WarmupError(
                "rehearsal", f"the rehearsal did not end within {BUDGET_SECONDS:g} s"
            ) from None

    async def _judge(self, seen: Seen | None, container: str) -> None:
        if seen is None:
            raise WarmupError("rehearsal", "somebody removed the rehearsal's container")
        if seen.exit_code != 0:
            log = await self._node.engine.log_tail(container, lines=TAIL_LINES)
            reason = reason_of(seen, otherwise="rehearsal")
            raise WarmupError(reason, last_words(log), exit_code=seen.exit_code)

    async def _remove(self, name: str, container: str) -> None:
        try:
            if container:
                await self._node.engine.remove(container)
            await self._node.threads.disk(self._node.slots.remove, name)
        except (GreenroomError, OSError) as error:
            # The sweep of the next start tries again; a container that ended costs nothing.
            self._log.warning("rehearsal.left_behind", name=name, error=str(error))


def _name_of(spec: ContainerSpec, image: Image) -> str:
    """Of the image itself, as a tag moves; homes and limits change no list of modules."""
    shapes = [image.id, sorted(spec.environment.items())]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()


def _read(file: Path) -> bytes:
    """The record, checked: it is about to be shown to other containers."""
    try:
        # Without waiting: a pipe may lie there.
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise WarmupError(
            "rehearsal",
            "the container ended well without a rehearsal: the image's entry point does not "
            'run its command (`exec "$@"`)',
            exit_code=0,
        ) from None
    with open(handle, "rb") as source:
        raw = source.read(LARGEST_RECORD + 1)
    try:
        modules = json.loads(raw)["modules"]
        fits = len(raw) <= LARGEST_RECORD and all(isinstance(name, str) for name in modules)
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise WarmupError("rehearsal", "the rehearsal left a record that cannot be read")
    return raw


def _keep(file: Path, record: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    with open(new, "wb") as out:
        out.write(record)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
