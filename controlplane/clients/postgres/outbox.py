"""Events that are committed and not yet confirmed by the broker."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.clients.postgres.driver import Driver
from controlplane.messages import Moved


class Outbox:
    """Several callers share it: what one took, nobody else gets for five seconds."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def take(self, limit: int = 200) -> list[tuple[int, Moved]]:
        """The oldest lines with their ids. A long change is left out: it is a hint."""
        rows = await self._driver.call("outbox_take", limit)
        return [(row.pop("id"), Moved(**row)) for row in rows]

    async def done(self, ids: Sequence[int]) -> None:
        """The broker confirmed these."""
        await self._driver.call("outbox_done", list(ids))
