"""Where calls go that block: our disk, and people's storage, which may never answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from workers.agent.homes import HomeUnreachable

P = ParamSpec("P")
T = TypeVar("T")

DISK_THREADS = 4
# Syncs that come at once are one for the disk.
JOURNAL_THREADS = 4
# As many homes may hang at once as a hung mount strands threads; then homes are refused.
STORAGE_THREADS = 32


class Threads:
    """Two bounded sets of threads: a hung network mount never reaches the journal's."""

    def __init__(self, *, storage_seconds: float = 10.0) -> None:
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self._journal = ThreadPoolExecutor(JOURNAL_THREADS, thread_name_prefix="journal")
        self._storage = ThreadPoolExecutor(STORAGE_THREADS, thread_name_prefix="storage")
        self._seconds = storage_seconds
        self._in_storage = 0

    async def disk(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call on our own disk. Cancelled, it still waits until the call has ended."""
        return await self._to_its_end(self._disk, lambda: call(*args, **kwargs))

    async def journal(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what is synced before anybody hears of it: unmounting waits elsewhere."""
        return await self._to_its_end(self._journal, lambda: call(*args, **kwargs))

    async def _to_its_end(self, threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        work = asyncio.get_running_loop().run_in_executor(threads, call)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # Or an old step could reach the journal after a newer one.
            await asyncio.wait([work])
            raise

    async def storage(self, call: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> int:
        """Run a call that opens a handle on storage; `HomeUnreachable` if it takes too long."""
        if self._in_storage >= STORAGE_THREADS:
            raise HomeUnreachable(
                f"{STORAGE_THREADS} homes hang on this node already: its storage does not answer"
            )
        self._in_storage += 1
        work = self._storage.submit(call, *args, **kwargs)
        loop = asyncio.get_running_loop()
        work.add_done_callback(lambda _: _tell(loop, self._left))
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(asyncio.wrap_future(work))
        except TimeoutError:
            work.add_done_callback(_close_late)
            raise HomeUnreachable(
                f"the storage did not answer in {self._seconds:g} s on this node"
            ) from None
        except asyncio.CancelledError:
            work.add_done_callback(_close_late)
            raise

    def close(self) -> None:
        """Without waiting: a hung thread dies with the process."""
        self._journal.shutdown(wait=True)
        self._disk.shutdown(wait=True)
        self._storage.shutdown(wait=False, cancel_futures=True)

    def _left(self) -> None:
        self._in_storage -= 1


def _close_late(work: Future[int]) -> None:
    if not work.cancelled() and work.exception() is None:
        os.close(work.result())


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    # A thread that hung may come back after the loop has gone.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
