"""The agent's epoch and the stamp of every report.

An epoch is made at each start: one more than the last, and at least the time, so that an
agent whose disk was lost is still newer than itself. `seq` counts within an epoch.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from pathlib import Path

from controlplane.errors import BadSettings


def next_epoch(folder: Path, now_seconds: float) -> int:
    """This start's epoch, synced before it is used."""
    file = folder / "epoch"
    epoch = max(_last(file) + 1, int(now_seconds))
    new = file.with_suffix(".new")
    with open(new, "w", encoding="ascii") as out:
        out.write(str(epoch))
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return epoch


def lock(folder: Path) -> int:
    """A handle that keeps a second agent away from this state; `BadSettings` if one is there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadSettings(
            f"node.state_dir {folder} cannot be used: {error.strerror}: run the agent as root, "
            "or give it a directory of its own (GREENROOM_NODE__STATE_DIR)"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise BadSettings(
            f"another agent works in {folder}: stop it, or give this node its own node.name "
            "and node.state_dir"
        ) from None
    return handle


def unlock(handle: int) -> None:
    """Let the next agent in."""
    os.close(handle)


class Stamp:
    """(node, epoch, seq) of one agent's life."""

    def __init__(self, node: str, epoch: int) -> None:
        self.node = node
        self.epoch = epoch
        self._seq = itertools.count(1)

    def next(self) -> dict[str, str | int]:
        """Take it when you look, not when you send."""
        return {"node": self.node, "epoch": self.epoch, "seq": next(self._seq)}


def _last(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0
