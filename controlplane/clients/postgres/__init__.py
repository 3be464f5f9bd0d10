"""The truth of what was decided. Every move is one SQL function; here they are called.

driver      a timeout around everything, driver errors become ours
answers     what a move changed, as values
leases, notebooks, nodes, pools, hubs, outbox
            one class each, one method for each move or look
migrate     `greenroom db upgrade | status`
fold        events back into tables
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from controlplane.clients.postgres.answers import Change, Due, Granted, Violation
from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.hubs import Hubs
from controlplane.clients.postgres.leases import Leases
from controlplane.clients.postgres.nodes import Nodes
from controlplane.clients.postgres.notebooks import Notebooks
from controlplane.clients.postgres.outbox import Outbox
from controlplane.clients.postgres.pools import Pools
from controlplane.clients.postgres.queries import query

__all__ = ["Change", "Due", "Granted", "Postgres", "Violation"]


class Postgres:
    """Everything that workers and the command line ask of Postgres.

    Errors are `Unavailable` (no answer within the timeout, no connection), `Conflict`
    (somebody else was first), `Refused` (asked for something that cannot be), or bugs.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.leases = Leases(driver)
        self.notebooks = Notebooks(driver)
        self.nodes = Nodes(driver)
        self.pools = Pools(driver)
        self.hubs = Hubs(driver)
        self.outbox = Outbox(driver)

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        size: int = 10,
        statement_cache_size: int = 100,
        timeout_seconds: float = 2.0,
        warmed: bool = False,
    ) -> Postgres:
        """Raises `Unavailable`. `statement_cache_size=0` behind pgbouncer in transaction mode.

        `warmed`, for workers: on the first two connections, which are made at once, what a
        click calls is compiled before a person waits for it.
        """
        driver = await Driver.connect(
            url,
            size=size,
            statement_cache_size=statement_cache_size,
            timeout_seconds=timeout_seconds,
            warmed=warmed,
        )
        return cls(driver)

    async def close(self) -> None:
        """Gives running calls their timeout to end."""
        await self._driver.close()

    async def check(self) -> None:
        """Raises `Unavailable` when Postgres does not answer."""
        await self._driver.value("select 1")

    async def now(self) -> datetime:
        """Postgres' clock, which every stored time is of."""
        return cast(datetime, await self._driver.value("select clock_timestamp()"))

    async def maintain(self, retention_days: int) -> None:
        """Partitions seven days ahead; events, ended leases and gone notebooks older than
        the retention go. Safe to call from several processes, any number of times."""
        await self._driver.call("maintain", retention_days)

    async def violations(self) -> list[Violation]:
        """Invariants that do not hold now; empty when all is well."""
        return [Violation(**row) for row in await self._driver.rows(query("invariants"))]
