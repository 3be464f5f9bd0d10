"""Notebooks before anybody holds them, and after nobody does any more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.clients.postgres import answers
from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.queries import query
from controlplane.decide.lease import Offerable
from controlplane.errors import Conflict
from controlplane.messages import (
    NodeInventory,
    NotebookGone,
    Report,
    WarmupCreated,
    WarmupFailed,
    WarmupReady,
)
from controlplane.model.rows import Notebook

# States of a held notebook in which a person may be at work.
IN_USE = frozenset({"activating", "serving"})


class Notebooks:
    """A report with a lower (epoch, seq) than its row has seen changes nothing: None."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def create(
        self, pool: str, revision: int, where: Mapping[str, str], *, stamp: int
    ) -> list[Notebook]:
        """`where` gives a node to each new notebook's id. Raises `Conflict`, and writes nothing,
        when another call created for this pool since `stamp` was read."""
        rows = await self._driver.call(
            "notebook_create", pool, revision, json.dumps(dict(where)), stamp
        )
        if rows is None:
            raise Conflict(f"another refill worker created for {pool} first")
        return [answers.notebook(row) for row in rows]

    async def created(self, report: WarmupCreated) -> Notebook | None:
        """creating -> warming."""
        return await self._report("notebook_created", report)

    async def ready(self, report: WarmupReady) -> Notebook | None:
        """creating or warming -> ready."""
        return await self._report("notebook_ready", report)

    async def failed(self, report: WarmupFailed) -> Notebook | None:
        """creating, warming or ready -> failed. A leased one is left to `Leases.exited`."""
        return await self._report("notebook_failed", report)

    async def gone(self, report: NotebookGone) -> Notebook | None:
        """Anything that nobody holds -> gone. A leased one is left to `Leases.exited`."""
        return await self._report("notebook_gone", report)

    async def retire(self, ids: Sequence[str], reason: str) -> list[Notebook]:
        """creating, warming, ready and failed ones -> retiring; those that moved, in the answer."""
        return _many(await self._driver.call("notebook_retire", list(ids), reason))

    async def inventory(self, report: NodeInventory) -> list[Notebook]:
        """Heal lost reports from a node's list; those that moved.

        Held ones move forward (lost ones to retiring); absent ones of its span are gone.
        A `creating` one that no report spoke of may be on its way: it is left alone. Leased
        ones are left to `Leases.inventory`. An older inventory changes nothing.
        """
        return _many(await self._driver.call("notebook_inventory", answers.bounded(report)))

    async def strangers(self, report: NodeInventory) -> list[str]:
        """Held ids to be removed: of rows that are gone, and unknown ones that nobody uses."""
        ids = [held.notebook for held in report.held]
        used = [held.state in IN_USE for held in report.held]
        return await self._driver.rows(query("strangers"), report.node, ids, used)

    async def unknown_in_use(self, report: NodeInventory) -> list[str]:
        """Held ids that no row knows and somebody may work in: left alone, for people to see."""
        ids = [held.notebook for held in report.held if held.state in IN_USE]
        return await self._driver.rows(query("unknown_in_use"), ids) if ids else []

    async def lose(self, node: str) -> list[Notebook]:
        """The node is lost: everything on it that nobody holds -> lost."""
        return _many(await self._driver.call("notebook_lose", node))

    async def offerable(self) -> list[Offerable]:
        """Those in phase ready on nodes in state ready: what the index should hold."""
        return [Offerable(*row) for row in await self._driver.table(query("offerable"))]

    async def list(self, *, pool: str | None = None, node: str | None = None) -> list[Notebook]:
        """Notebooks that are not gone, oldest first."""
        rows = await self._driver.rows(query("list_notebooks"), pool, node)
        return [answers.notebook(row) for row in rows]

    async def counts(self) -> dict[str, dict[str, int]]:
        """{pool: {phase: how many}} of those that are not gone."""
        counted: dict[str, dict[str, int]] = {}
        for row in await self._driver.rows(query("count_notebooks")):
            counted.setdefault(row["pool"], {})[row["phase"]] = row["count"]
        return counted

    async def _report(self, function: str, report: Report) -> Notebook | None:
        row = await self._driver.call(function, report.model_dump_json())
        return None if row is None else answers.notebook(row)


def _many(rows: Any) -> list[Notebook]:
    return [answers.notebook(row) for row in rows]
