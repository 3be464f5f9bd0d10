"""Which root homes come from now: a pool's own, or its backup while that does not answer.

Each root is asked in a thread of its own, at most one: one that hangs is not asked again
while it hangs, and keeps no thread from homes. Only pools with a backup ask.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import structlog

from controlplane import telemetry
from controlplane.model.pool import Storage
from workers.agent.homes import HomeUnreachable

# An answer that takes longer is none.
LOOK_SECONDS = 2.0
# A root that does not answer is asked so often; until then everybody goes to the backup at once.
AGAIN_SECONDS = 5.0

Choice = Literal["primary", "backup", "refuse"]


def choose(primary: str, backup: str) -> Choice:
    """Where homes come from. Arguments: why each root does not answer; empty where it does."""
    if not primary:
        return "primary"
    return "refuse" if backup else "backup"


def kind_of(storage: Storage) -> str:
    """How reports call the backup of this storage."""
    return f"backup-{'ro' if storage.at_backup().read_only else 'rw'}"


def look(root: str) -> str:
    """Why this root does not answer; empty when it does. Blocks for as long as the storage does."""
    try:
        handle = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # This asks the server; what `stat` says may be what this node remembers.
            os.fstatvfs(handle)
        finally:
            os.close(handle)
    except OSError as error:
        return error.strerror or str(error)
    return ""


@dataclass
class _Root:
    trouble: str = ""
    looking: asyncio.Future[None] | None = None


@dataclass(frozen=True, kw_only=True)
class Root:
    """Where one home is opened. `kind` is empty for the pool's own root, `why` for its health."""

    storage: Storage
    kind: str = ""
    why: str = ""


class Roots:
    """The roots that this agent asked so far, and how they are.

    `seconds` is how long an answer may take; `look` is what is asked of a root, in a thread.
    """

    def __init__(self, look: Callable[[str], str] = look) -> None:
        self.seconds = LOOK_SECONDS
        self._look_at = look
        self._roots: dict[str, _Root] = {}
        self._log = structlog.get_logger("agent.roots")

    async def where(self, storage: Storage) -> Root:
        """The root that homes of a storage with a backup come from; `HomeUnreachable`."""
        assert storage.backup is not None
        primary = await self.trouble(storage.root)
        backup = await self.trouble(storage.backup) if primary else ""
        why = f"storage.root {storage.root} does not answer on this node ({primary})"
        match choose(primary, backup):
            case "primary":
                return Root(storage=storage)
            case "backup":
                return Root(storage=storage.at_backup(), kind=kind_of(storage), why=why)
            case "refuse":
                raise HomeUnreachable(f"{why}, nor does storage.backup {storage.backup} ({backup})")

    async def trouble(self, root: str) -> str:
        """Why this root does not answer; empty when it does. Waits for `seconds` at most."""
        known = self._roots.setdefault(root, _Root())
        if known.trouble:
            # Asked again by `look_again`: a burst must not wait for it person by person.
            return known.trouble
        looking = self._look(root, known)
        await asyncio.wait({looking}, timeout=self.seconds)
        if not looking.done():
            self._note(root, known, self._too_late())
        return known.trouble

    async def keep_looking(self) -> None:
        """Ask what does not answer again, and go back to it by itself."""
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            self.look_again()

    def asking(self, root: str) -> asyncio.Future[None]:
        """Done when the look at this root that is or was under way has been heard."""
        looking = self._roots[root].looking
        assert looking is not None
        return looking

    def look_again(self) -> None:
        """Ask every root in trouble that is not being asked."""
        for root, known in self._roots.items():
            if known.trouble:
                self._look(root, known)

    def _look(self, root: str, known: _Root) -> asyncio.Future[None]:
        if known.looking is not None and not known.looking.done():
            return known.looking
        loop = asyncio.get_running_loop()
        looking = known.looking = loop.create_future()
        seconds, begun = self.seconds, time.monotonic()

        def run() -> None:
            trouble = self._look_at(root)
            if time.monotonic() - begun > seconds:
                trouble = trouble or self._too_late()
            # It may have hung for longer than the loop was there.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(heard, trouble)

        def heard(trouble: str) -> None:
            self._note(root, known, trouble)
            looking.set_result(None)

        # Not of a pool, which would be full of what hangs, and never in the way of our end.
        thread = threading.Thread(target=run, daemon=True, name=f"root {root}")
        try:
            thread.start()
        except RuntimeError as error:
            # Else nobody would ever hear of this look, nor begin another.
            heard(str(error))
        return looking

    def _too_late(self) -> str:
        return f"no answer in {self.seconds:g} s"

    def _note(self, root: str, known: _Root, trouble: str) -> None:
        before, known.trouble = known.trouble, trouble
        if trouble and not before:
            self._log.warning("root.failing", root=root, why=trouble)
        if before and not trouble:
            self._log.info("root.answers", root=root)
        failing = sum(bool(each.trouble) for each in self._roots.values())
        telemetry.ROOTS_FAILING.set(failing)
