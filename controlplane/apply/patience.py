"""Words that are only worth a message when nothing better follows at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from controlplane.apply.sending import Sending, send
from controlplane.clients.rabbitmq import Broker
from controlplane.errors import Retry

# A warm start serves before this, and before a hub shows anybody a page that waits.
PATIENCE_SECONDS = 0.25

log = structlog.get_logger()


class Patience:
    """Answers that wait for a moment, by lease; forgotten when they are not needed any more.

    Kept by one process alone: a hub that hears nothing asks again.
    """

    def __init__(self, broker: Broker, *, seconds: float = PATIENCE_SECONDS) -> None:
        self._broker = broker
        self._seconds = seconds
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def hold(self, lease: str, words: Sequence[Sending]) -> None:
        """Send these in a moment; what was held back for this lease before is forgotten."""
        self.forget(lease)
        clock = asyncio.get_running_loop()
        self._waiting[lease] = clock.call_later(self._seconds, self._over, lease, words)

    def forget(self, lease: str) -> None:
        """Something stronger was said."""
        if waiting := self._waiting.pop(lease, None):
            waiting.cancel()

    def _over(self, lease: str, words: Sequence[Sending]) -> None:
        self._waiting.pop(lease, None)
        task = asyncio.create_task(self._say(words), name=f"held back for {lease}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, words: Sequence[Sending]) -> None:
        try:
            await send(self._broker, words)
        except Retry as error:
            log.info("answer.not_said", error=str(error))
