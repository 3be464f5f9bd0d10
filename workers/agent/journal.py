"""What this agent decided of each notebook, on disk before anybody is told.

One file per notebook, one JSON line per step, the last whole line holds. No container can
see it. A line is appended and synced once, so that an activation pays for a single flush.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controlplane.errors import Terminal
from controlplane.model.pool import ContainerSpec

Phase = Literal[
    "creating", "warming", "ready", "accepted", "serving", "exited", "failed", "removing"
]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Run(_Line):
    """The one activation that a notebook accepted in its life. No secret is in it.

    `refused` or `failed` is the reason that was reported, to be reported again.
    """

    lease: str
    attempt: int
    hub: str
    user: str
    server: str
    prefix: str
    accepted_at: datetime
    refused: str = ""
    failed: str = ""
    detail: str = ""
    terminal: bool = False
    stages: dict[str, float] = Field(default_factory=dict)
    # Which backup it is on; written before that is mounted.
    home: str = ""


class Entry(_Line):
    """One notebook as its agent knows it. `container` is empty until the engine made it."""

    notebook: str
    pool: str
    revision: int
    spec_hash: str
    spec: ContainerSpec
    phase: Phase
    budget_ms: int
    port: int = 0
    container: str = ""
    directory: str = "/"
    uid: int = 0
    gid: int = 0
    warm_ms: float = 0.0
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    run: Run | None = None


class JournalUnreadable(Terminal):
    """A journal file holds no whole line."""


class Journal:
    """The files of one node. Every call blocks on the disk: run them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, entry: Entry) -> None:
        """Append and sync. After this returns, a restart knows it."""
        line = entry.model_dump_json().encode() + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = os.open(self._file(entry.notebook), flags, 0o600)
        try:
            fresh = os.fstat(file).st_size == 0
            # A torn last line must not swallow this one.
            os.write(file, line if fresh else b"\n" + line)
            os.fdatasync(file)
        finally:
            os.close(file)
        if fresh:
            self._sync_folder()

    def forget(self, notebook: str) -> None:
        """Nothing of this notebook is left."""
        self._file(notebook).unlink(missing_ok=True)

    def load(self) -> tuple[list[Entry], list[Path]]:
        """Every notebook's last step, and the files that hold none."""
        entries, unreadable = [], []
        for file in sorted(self._folder.glob("*.jsonl")):
            try:
                entries.append(_last(file.read_bytes()))
            except JournalUnreadable:
                unreadable.append(file)
        return entries, unreadable

    def _file(self, notebook: str) -> Path:
        return self._folder / f"{notebook}.jsonl"

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _last(raw: bytes) -> Entry:
    for line in reversed(raw.split(b"\n")):
        if line:
            try:
                return Entry.model_validate_json(line)
            except ValidationError:
                # Torn by a crash: the step before it holds, nobody was told of this one.
                continue
    raise JournalUnreadable
