"""What is left of dead notebooks: the end of their log, for seven days."""

from __future__ import annotations

import os
import time
from pathlib import Path

KEPT_BYTES = 64 * 1024
KEPT_SECONDS = 7 * 24 * 3600
# The engine counts a tail in lines; this many lines nearly always hold as many bytes.
TAIL_LINES = 1000
DETAIL_CHARS = 1200


class Dead:
    """The files of one node. Calls block on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, notebook: str, log: bytes) -> None:
        """Keep the last 64 KiB."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"{notebook}.log"
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as out:
            out.write(log[-KEPT_BYTES:])

    def prune(self) -> None:
        """Remove what is older than seven days."""
        oldest = time.time() - KEPT_SECONDS
        for file in self._folder.glob("*.log"):
            if file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)


def last_words(log: bytes) -> str:
    """The end of a log, short enough for a report."""
    return log.decode("utf-8", "replace").replace("\0", " ").strip()[-DETAIL_CHARS:]
