"""Storage that hangs costs its own threads, never the agent."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

from workers.agent.homes import HomeUnreachable
from workers.agent.threads import DISK_THREADS, STORAGE_THREADS, Threads


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """Storage that answers when this is set."""
    answers = threading.Event()
    yield answers
    answers.set()


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(storage_seconds=0.05)
    yield threads
    threads.close()


async def test_hung_storage_is_given_up_and_the_disk_works_on(
    threads: Threads, hung: threading.Event
) -> None:
    def opens() -> int:
        hung.wait()
        return os.open("/", os.O_PATH)

    given_up = await asyncio.gather(
        *(threads.storage(opens) for _ in range(STORAGE_THREADS)), return_exceptions=True
    )
    with pytest.raises(HomeUnreachable, match="hang on this node already"):
        await threads.storage(opens)

    assert [type(error) for error in given_up] == [HomeUnreachable] * STORAGE_THREADS
    assert all("did not answer" in str(error) for error in given_up)
    assert await threads.disk(lambda: 7) == 7


async def test_the_journal_does_not_wait_for_what_else_the_disk_does(
    threads: Threads, hung: threading.Event
) -> None:
    unmounting = [asyncio.ensure_future(threads.disk(hung.wait)) for _ in range(2 * DISK_THREADS)]

    async with asyncio.timeout(60):
        written = await threads.journal(lambda: 7)

    assert written == 7
    assert not any(work.done() for work in unmounting)
    hung.set()
    await asyncio.gather(*unmounting)


async def test_a_handle_that_comes_late_is_closed(threads: Threads, hung: threading.Event) -> None:
    reading, writing = os.pipe()

    def opens() -> int:
        hung.wait()
        return writing

    with pytest.raises(HomeUnreachable):
        await threads.storage(opens)
    hung.set()
    # The pipe's end comes when its only writing handle is closed.
    rest = await threads.disk(os.read, reading, 1)
    os.close(reading)

    assert rest == b""


async def test_a_cancelled_disk_call_has_ended_before_the_next_begins(threads: Threads) -> None:
    begun, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def writes() -> None:
        begun.set()
        may_end.wait()
        done.set()

    task = asyncio.create_task(threads.disk(writes))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.wait([task], timeout=0.01)
    still_going = not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert still_going
    assert done.is_set()
