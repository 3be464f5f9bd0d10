"""Hubs: which process speaks for one, and what it still knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from controlplane.clients.postgres import answers
from controlplane.clients.postgres.answers import Granted
from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.queries import query
from controlplane.decide.expect import Shelf, Shelves
from controlplane.decide.lease_snapshot import Line
from controlplane.messages import EVERY_LEASE
from controlplane.model import Limits
from controlplane.model.rows import Lease, Pool

_NUMBERS = ("warming", "held", "leaving", "nodes", "free", "failures", "warm_seconds")


class Hubs:
    """Silence of a hub ends nothing; only its complete inventories do."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def hello(
        self, hub: str, hub_process: str, api_url: str, *, clients: Sequence[str] = ()
    ) -> None:
        """From here on the answers for this hub's open leases go to this process."""
        await self._driver.call("hub_hello", hub, hub_process, api_url, list(clients))

    async def surroundings(self) -> dict[str, Any]:
        """`stamp` (milliseconds), `hubs` ({hub, api_url, clients}), `nodes` {name: address}."""
        (found,) = await self._driver.rows(query("surroundings"))
        return dict(found)

    async def snapshot(self, hub: str) -> tuple[list[Lease], list[Pool]]:
        """Its open leases, without their seal, and the pools that can be asked for."""
        leases = await self._driver.rows(query("hub_leases"), hub)
        pools = await self._driver.rows(query("offered_pools"))
        return [answers.lease(row) for row in leases], [answers.pool(row) for row in pools]

    async def shelves(self, hub: str) -> Shelves:
        """Every pool as this hub may use it now, and the limits that its people fall under."""
        rows = await self._driver.rows(query("shelves"), hub)
        limits = await self._driver.rows(query("limits"))
        over_all = Limits.model_validate(limits[0]["spec"]) if limits else Limits()
        named = over_all.max_per_group
        held = (
            await self._driver.rows(query("held_of_groups"), hub, json.dumps(named))
            if named
            else [{}]
        )
        return Shelves(shelves=tuple(map(_shelf, rows)), limits=over_all, of_groups=held[0])

    async def inventory(
        self,
        hub: str,
        hub_process: str,
        leases: Sequence[str],
        *,
        between: tuple[str, str] = EVERY_LEASE,
    ) -> list[Granted]:
        """A complete list of the leases that the hub knows, of those from one id up to another.

        What two of them leave out, both 15 s or more after its last answer and 5 s or more
        apart, ends as hub_forgot. Listed ones that ended are in the answer as well, addressed
        to this process: it never heard.
        """
        rows = await self._driver.call("hub_inventory", hub, hub_process, list(leases), *between)
        return [answers.granted(row) for row in rows]


def _shelf(row: dict[str, Any]) -> Shelf:
    pool = answers.pool(row["pool"])
    line = Line(
        pool=pool.name,
        taken_at=answers.moment(row["taken_at"]),
        waiting=(),
        ready=row["warm"],
        maximum=pool.spec.maximum,
        paused=pool.spec.paused,
        **{name: row[name] for name in _NUMBERS},
    )
    return Shelf(
        pool=pool,
        line=line,
        warm=row["warm"],
        waiting=row["waiting"],
        of_groups=row["of_groups"],
    )
