"""A thread for what stands for containers, so that its CPU time is counted apart from the agent's.

Its name is the kernel's name for it as well: `benchmarks.cpu` finds it in /proc.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NAME = "notebooks"


class Apart:
    """An event loop in a thread of its own. Use `open` and `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Await it over there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def call(self, function: Callable[[], object]) -> None:
        """Soon, over there."""
        self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(NAME)
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
