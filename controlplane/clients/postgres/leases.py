"""Every move of a lease, each one call of one SQL function in its own transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from controlplane.clients.postgres import answers
from controlplane.clients.postgres.answers import Due, Granted, Pulse
from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.queries import query
from controlplane.decide.lease_snapshot import Line
from controlplane.messages import LeaseRequest, NodeInventory, RunAccepted, RunActivated, RunExited
from controlplane.model.phases import EndReason
from controlplane.model.rows import Lease


class Leases:
    """Claims and the line. `None` means that nothing was changed for this lease."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def request(
        self, ask: LeaseRequest, candidate: str | None = None, *, traceparent: str = ""
    ) -> Granted:
        """Insert the lease, or read what this id already became.

        Ends at once with refused (unknown or paused pool, groups), expired (no budget) or the
        reason of an earlier release. While anybody waits for the pool it waits as well, else it
        takes `candidate` where that can be had, any other ready notebook, or a place in line.
        Raises `Refused` when the id belongs to somebody else.
        """
        body = ask.model_dump(mode="json") | {"traceparent": traceparent}
        raw = json.dumps(body)
        row = await self._driver.call("lease_request", raw, candidate)
        if row is None:
            # Nothing was to be had past the line: stand in it.
            row = await self._driver.call("lease_request", raw, candidate, True)
        return answers.granted(row)

    async def match(self, pool: str, limit: int = 50) -> list[Granted]:
        """The heads of the line get ready notebooks, under the pool's line lock."""
        return _many(await self._driver.call("lease_match", pool, limit))

    async def waiting_pools(self) -> list[str]:
        """Pools with somebody in line."""
        return await self._driver.rows(query("waiting_pools"))

    async def accepted(self, reports: Sequence[RunAccepted]) -> None:
        """Agents wrote these orders down: their attempts end only by failure or deadline."""
        body = "[" + ",".join(report.model_dump_json() for report in reports) + "]"
        await self._driver.call("lease_accepted", body)

    async def serve(self, report: RunActivated) -> Granted | None:
        """claimed -> serving when lease, attempt and notebook match; again: the same row.

        None: stale. Its notebook is retired, unless the lease uses it or it is not its own.
        """
        return _maybe(await self._driver.call("lease_serve", report.model_dump_json()))

    async def attempt_failed(
        self, lease: str, attempt: int, notebook: str, *, reason: str, detail: str, terminal: bool
    ) -> Granted | None:
        """The notebook is retired; the lease waits for its next attempt, same place, or ended.

        It gets a ready notebook at once when nobody stands before it.
        """
        row = await self._driver.call(
            "lease_attempt_failed", lease, attempt, notebook, reason, detail, terminal
        )
        return _maybe(row)

    async def exited(self, report: RunExited) -> Granted | None:
        """serving -> ended(died); claimed -> its next attempt."""
        return _maybe(await self._driver.call("lease_exited", report.model_dump_json()))

    async def release(self, lease: str, hub: str, reason: EndReason) -> Granted | None:
        """End it and retire its notebook; again: the ended row. Unknown: a tombstone, None.

        Raises `Refused` when the lease is another hub's.
        """
        return _maybe(await self._driver.call("lease_release", lease, hub, reason.value))

    async def pulse(self, seconds: float = 3) -> Pulse:
        """What is to be done now, in one look: a second in which nothing is due costs one query.

        `seconds`: see `unaccepted`.
        """
        (row,) = await self._driver.rows(query("pulse"), seconds)
        return Pulse(**row | {"waiting": tuple(row["waiting"])})

    async def expire(self, limit: int = 200) -> list[Granted]:
        """waiting and claimed past their deadline end; a serving one never does."""
        return _many(await self._driver.call("lease_expire", limit))

    async def unaccepted(self, seconds: float = 3, limit: int = 200) -> list[Granted]:
        """Claimed and not accepted in time, or on a suspect or lost node: the next attempt."""
        return _many(await self._driver.call("lease_unaccepted", seconds, limit))

    async def node_lost(self, node: str) -> list[Granted]:
        """serving -> ended(node_lost), its notebook -> lost. Claimed ones: see `unaccepted`."""
        return _many(await self._driver.call("lease_node_lost", node))

    async def inventory(self, report: NodeInventory) -> list[Granted]:
        """What a node's list says about leases: served, vanished, held for nobody.

        The lease worker's half of an inventory; `Notebooks.inventory` is refill's.
        """
        return _many(await self._driver.call("lease_inventory", answers.bounded(report)))

    async def get(self, lease: str) -> Granted | None:
        """The lease as it is."""
        return _maybe(await self._driver.call("lease_get", lease))

    async def places(self) -> list[Line]:
        """Every pool with people waiting."""
        return [_line(row) for row in await self._driver.rows(query("places"))]

    async def due(self, limit: int = 200) -> list[Granted | Due]:
        """Rows whose command is unanswered for 1 s, then 2, 4 .. 30 s; marks them re-issued.

        Several callers share the work. Rows on suspect and lost nodes rest.
        """
        return [answers.due(row) for row in await self._driver.call("orders_due", limit)]

    async def trace(self, lease: str) -> list[dict[str, Any]]:
        """Events of the lease and its notebooks in order: at, entity, key, phase, change."""
        return await self._driver.rows(query("trace"), lease)

    async def counts(self) -> dict[str, dict[str, int]]:
        """{pool: {phase: how many}} of those that have not ended."""
        counted: dict[str, dict[str, int]] = {}
        for row in await self._driver.rows(query("count_leases")):
            counted.setdefault(row["pool"], {})[row["phase"]] = row["count"]
        return counted

    async def list(self, *, pool: str | None = None, open_only: bool = True) -> list[Lease]:
        """Leases, oldest first, without their seal."""
        rows = await self._driver.rows(query("list_leases"), pool, open_only)
        return [answers.lease(row) for row in rows]


def _maybe(row: Any) -> Granted | None:
    return None if row is None else answers.granted(row)


def _many(rows: Any) -> list[Granted]:
    return [answers.granted(row) for row in rows]


def _line(row: dict[str, Any]) -> Line:
    waiting = tuple(answers.lease(each) for each in row.pop("waiting"))
    cut_off = tuple(row.pop("cut_off"))
    taken_at = answers.moment(row.pop("taken_at"))
    return Line(waiting=waiting, taken_at=taken_at, cut_off=cut_off, **row)
