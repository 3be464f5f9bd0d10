"""Who waits: ready notebooks go to the heads of the lines, and people hear where they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from controlplane import failpoints
from controlplane.apply import hubs
from controlplane.apply.leases import LeaseEffects
from controlplane.clients.postgres import Granted
from controlplane.decide.lease import places
from controlplane.decide.lease_snapshot import Line
from controlplane.messages import LinePlaces
from workers.tools import Tools

MATCH = 50
EVERY_SECONDS = 1.0

Told = Mapping[str, tuple[LinePlaces, ...]]


class LinesOfPools:
    """The lines of all pools, as one copy of the worker serves them."""

    def __init__(self, tools: Tools, effects: LeaseEffects) -> None:
        self._broker = tools.broker
        self._leases = tools.postgres.leases
        self._index = tools.redis
        self._effects = effects
        self._asked: set[str] = set()
        self._told: dict[str, Told] = {}

    def ask(self, pool: str) -> None:
        """Somebody in this pool's line is to hear their place at the next second."""
        self._asked.add(pool)

    async def match(self, pool: str) -> int:
        """Give ready notebooks to the heads of this line; how many got one."""
        matched = 0
        while granted := await self._leases.match(pool, MATCH):
            failpoints.reach("lease.match.committed")
            await asyncio.gather(*(self._give(each) for each in granted))
            matched += len(granted)
            if len(granted) < MATCH:
                break
        return matched

    async def _give(self, granted: Granted) -> None:
        await self._effects.apply(granted)
        await self.taken(granted, None)

    async def taken(self, granted: Granted, popped: str | None) -> None:
        """What was claimed without a pop leaves the index, so that nobody pops it in vain."""
        notebook = granted.notebook
        if notebook is not None and notebook.notebook != popped:
            await self._index.remove(notebook.pool, notebook.notebook)

    async def second(self, waiting: Sequence[str]) -> None:
        """Every second: match, then tell those who still wait. Nothing when nobody does."""
        for pool in waiting:
            await self.match(pool)
        if waiting:
            await self._tell()
        else:
            self._told.clear()

    async def _tell(self) -> None:
        """Places go out once a second for each hub process and pool: copies take turns."""
        mine = await self._index.turn("places", EVERY_SECONDS * 0.9)
        for line in await self._leases.places():
            asked = line.pool in self._asked
            if mine or asked:
                await self._tell_line(line, asked=asked)
                self._asked.discard(line.pool)

    async def _tell_line(self, line: Line, *, asked: bool) -> None:
        told = places(line, await self._index.pace(line.pool))
        before = self._told.get(line.pool, {})
        for hub_process, messages in told.items():
            if asked or messages != before.get(hub_process):
                await hubs.places(self._broker, hub_process, messages)
        self._told[line.pool] = told
