"""What the first stages of a lease took, until the line that tells of all of them.

The copy that ordered an activation and the copy that sees it serve may be two processes:
Redis carries the numbers between them, and when it does not, the line is shorter.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from controlplane.clients.redis import Index

KEPT = 2000


class Stages:
    """Milliseconds by stage, for each of the last leases."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, lease: str, stages: Mapping[str, float]) -> None:
        """Keep these; a later attempt's replace them."""
        self._kept[lease] = dict(stages)
        self._kept.move_to_end(lease)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        # Nobody waits for it: it serves a log line.
        task = asyncio.create_task(self._index.note_stages(lease, stages), name="note stages")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def recall(self, lease: str) -> dict[str, float]:
        """What is known; empty when nothing is."""
        kept = self._kept.pop(lease, None)
        return kept if kept is not None else await self._index.recall_stages(lease)
