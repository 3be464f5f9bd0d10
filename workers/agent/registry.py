"""The notebooks of this node: the journal's last step of each, and what is under way.

A step is written to the journal before anybody acts on it or hears of it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from controlplane.errors import Conflict
from workers.agent.journal import Entry, Journal
from workers.agent.threads import Threads

REMEMBERED_GONE = 10_000


class Leaving(Conflict):
    """The notebook ended or is being removed: who did that reports it."""


class Item:
    """One notebook. `work` is its warm-up or activation while that runs."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.work: asyncio.Task[None] | None = None
        self.claimed_by = entry.run.lease if entry.run else ""
        self.ended = asyncio.Event()
        self.retiring = False
        self.stepping = asyncio.Lock()

    @property
    def busy(self) -> bool:
        return self.work is not None and not self.work.done()

    async def stop_work(self) -> None:
        """Cancel what is under way and wait until it let go; never from inside it."""
        work = self.work
        if work is None or work is asyncio.current_task():
            return
        work.cancel()
        await asyncio.wait([work])


class Registry:
    """Every notebook that this agent holds."""

    def __init__(self, journal: Journal, threads: Threads) -> None:
        self._journal = journal
        self._threads = threads
        self._items: dict[str, Item] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def get(self, notebook: str) -> Item | None:
        return self._items.get(notebook)

    def adopt(self, entry: Entry) -> Item:
        """What an earlier agent wrote."""
        item = self._items[entry.notebook] = Item(entry)
        return item

    async def add(self, entry: Entry) -> Item:
        """A new notebook, known from here on and on disk when this returns."""
        item = self._items[entry.notebook] = Item(entry)
        try:
            await self._threads.journal(self._journal.write, entry)
        except OSError:
            del self._items[entry.notebook]
            raise
        return item

    async def step(self, item: Item, **changes: Any) -> None:
        """The next step, in the journal first. `Leaving` if the notebook is being removed."""
        async with item.stepping:
            if item.retiring and changes.get("phase") != "removing":
                raise Leaving(f"{item.entry.notebook} is being removed")
            entry = item.entry.model_copy(update=changes)
            await self._threads.journal(self._journal.write, entry)
            item.entry = entry

    async def forget(self, item: Item) -> None:
        """Nothing of it is left on this node."""
        notebook = item.entry.notebook
        await self._threads.journal(self._journal.forget, notebook)
        self._items.pop(notebook, None)
        self._gone[notebook] = None
        while len(self._gone) > REMEMBERED_GONE:
            self._gone.popitem(last=False)

    def is_gone(self, notebook: str) -> bool:
        """Was it here, and removed? A late command must not bring it back."""
        return notebook in self._gone
