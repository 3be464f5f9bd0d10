"""Ends a process whose event loop stands still: nothing inside the loop could notice."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading

CHECK_SECONDS = 1.0
STILL_CHECKS = 30


class Watchdog:
    """A thread that counts its own checks, so a stopped machine or process is no reason."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = threading.Event()
        self._beats = 0
        self._handle = self._loop.call_soon(self._beat)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()
        self._handle.cancel()

    def _beat(self) -> None:
        self._beats += 1
        self._handle = self._loop.call_later(CHECK_SECONDS, self._beat)

    def _watch(self) -> None:
        seen, still = -1, 0
        while not self._over.wait(CHECK_SECONDS):
            still = still + 1 if self._beats == seen else 0
            seen = self._beats
            if still >= STILL_CHECKS:
                sys.stderr.write(f"process.stuck: the event loop stood still {still} s\n")
                faulthandler.dump_traceback()
                os._exit(1)
