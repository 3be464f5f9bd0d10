"""From what was seen to the broker: stamped at once, published beside the work.

A report that cannot be sent is tried again for a minute. What is lost then, the inventory
repeats: reports make things faster, the inventory makes them right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from controlplane.errors import Retry, Terminal
from controlplane.messages import Report
from workers.agent.epoch import Stamp

TRY_FOR_SECONDS = 60.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0

Publish = Callable[[Report], Awaitable[None]]


class Tasks(Protocol):
    """As much of a task group as is needed here."""

    def create_task(self, coro: Any, *, name: str | None = None) -> asyncio.Task[Any]: ...


class Reports:
    """Stamps and sends the reports of one agent."""

    def __init__(self, stamp: Stamp, publish: Publish, tasks: Tasks) -> None:
        self._stamp = stamp
        self._publish = publish
        self._tasks = tasks
        self._log = structlog.get_logger("agent.reports")

    @property
    def epoch(self) -> int:
        return self._stamp.epoch

    def stamp(self) -> dict[str, str | int]:
        """Taken before a look that lasts, for `send`."""
        return self._stamp.next()

    def post(self, kind: type[Report], **fields: Any) -> None:
        """Send it in the background; nobody waits."""
        report = kind.model_validate({**self._stamp.next(), **fields})
        self._tasks.create_task(self._until_sent(report), name=f"report {kind.TYPE}")

    async def send(self, report: Report) -> None:
        """Send it now, once. `Retry` or `Terminal` if it could not be."""
        await self._publish(report)

    async def _until_sent(self, report: Report) -> None:
        clock = asyncio.get_running_loop()
        give_up, pause = clock.time() + TRY_FOR_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._publish(report)
            except Terminal as error:
                return self._lost(report, error)
            except Retry as error:
                if clock.time() > give_up:
                    return self._lost(report, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _lost(self, report: Report, error: Exception) -> None:
        self._log.warning("report.lost", type=report.TYPE, error=str(error))
