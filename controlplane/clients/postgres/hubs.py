"""Hubs: which process speaks for one, and what it still knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.clients.postgres import answers
from controlplane.clients.postgres.answers import Granted
from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.queries import query
from controlplane.messages import EVERY_LEASE
from controlplane.model.rows import Lease, Pool


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
