"""A notebook's slot: one private tmpfs with `run` (the channel) and `home` (the person's).

    <state_dir>/slots                 one tmpfs, shared: what is mounted below it spreads
    <state_dir>/slots/<notebook>      one tmpfs each; its container binds the two below
        run/                          the channel and the record, seen at /run/greenroom
        home/                         empty until activation mounts the person's home on it

A slot goes by unmounting, never by deleting: nothing here can remove a file of anybody's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from controlplane.errors import BadSettings
from workers.agent import syscalls

# The channel, the record (60 KiB) and what hooks write into an empty home. After activation
# a person can fill it, and hurts nobody else.
SLOT_MIB = 16


class Slots:
    """The slots of one node. Every call is quick and touches only our own tmpfs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """Mount the shared parent unless an earlier agent did. `BadSettings` without the right."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            if self._folder not in syscalls.mounted_below(self._folder):
                syscalls.mount_tmpfs(self._folder, size_mib=1, mode=0o700)
            syscalls.share(self._folder)
        except PermissionError:
            raise BadSettings(
                f"the agent may not mount at {self._folder}: run it as root, in the mount "
                "namespace of its Docker engine"
            ) from None

    def make(self, notebook: str) -> None:
        """A fresh slot; one that exists is kept as it is."""
        slot = self._folder / notebook
        slot.mkdir(mode=0o700, exist_ok=True)
        if not self.run(notebook).is_dir():
            syscalls.mount_tmpfs(slot, size_mib=SLOT_MIB, mode=0o700)
            self.home(notebook).mkdir(mode=0o755)
            self.run(notebook).mkdir()
            # The image's user is anybody; what keeps others out is the slot above.
            self.run(notebook).chmod(0o777)

    def run(self, notebook: str) -> Path:
        """The directory that only the agent and this container share."""
        return self._folder / notebook / "run"

    def home(self, notebook: str) -> Path:
        """Where activation mounts the person's home."""
        return self._folder / notebook / "home"

    def has_home(self, notebook: str) -> bool:
        """Is a person's home mounted there?"""
        return os.path.ismount(self.home(notebook))

    def remove(self, notebook: str) -> None:
        """Unmount the home and the slot. `OSError` only if the kernel keeps one of them."""
        slot = self._folder / notebook
        if not slot.is_dir():
            return
        _unmount(self.home(notebook))
        _unmount(slot)
        # Only an empty directory goes: with a mount left on it this fails.
        with suppress(FileNotFoundError):
            slot.rmdir()

    def names(self) -> list[str]:
        """Every slot that there is."""
        return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_dir())

    def close(self) -> None:
        """Unmount the parent, once no slot is left."""
        _unmount(self._folder)


def _unmount(place: Path) -> None:
    try:
        # Two mounts on one place: an activation that was interrupted and done again.
        while syscalls.unmount(place):
            pass
    except OSError:
        # Busy, or a network mount that does not answer: out of sight now, gone when it can.
        while syscalls.unmount(place, detach=True):
            pass
