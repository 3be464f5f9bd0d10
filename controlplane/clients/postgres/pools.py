"""Pools, their revisions, and what refill looks at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from controlplane.clients.postgres import answers
from controlplane.clients.postgres.answers import Change
from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.queries import query
from controlplane.decide.refill_snapshot import Failure, NodeView, Snapshot
from controlplane.errors import Refused
from controlplane.model.limits import Limits
from controlplane.model.phases import NodeState
from controlplane.model.pool import PoolSpec
from controlplane.model.rows import Pool


class Pools:
    """Whatever changes in a pool makes a new revision, and a number never comes again.

    Revisions whose containers are the same have the same `spec_hash`: a rollback is a new
    number that the warm notebooks of the old one fit.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def apply(
        self, specs: Sequence[PoolSpec], *, remove_missing: bool, limits: Limits | None = None
    ) -> list[Change]:
        """All or nothing. A missing pool is removed only when that is asked for.

        `limits` None: they stay as they are, or go with all else that is missing. A change of
        them is called `[limits]`.
        """
        body = [
            {"name": s.name, "hash": s.container.hash(), "spec": s.model_dump(mode="json")}
            for s in specs
        ]
        over_all = None if limits is None else limits.model_dump_json()
        rows = await self._driver.call("pools_apply", json.dumps(body), remove_missing, over_all)
        return [Change(**row) for row in rows]

    async def limits(self) -> tuple[Limits, int]:
        """The limits over all pools, and how often they were changed."""
        rows = await self._driver.rows(query("limits"))
        if not rows:
            return Limits(), 0
        return Limits.model_validate(rows[0]["spec"]), rows[0]["version"]

    async def list(self) -> list[Pool]:
        """By name; a removed pool, wanting nothing, until the last of its notebooks is gone."""
        return [answers.pool(row) for row in await self._driver.rows(query("list_pools"))]

    async def snapshot(self, pool: str) -> Snapshot:
        """What refill decides on, from one moment. Raises `Refused` for an unknown pool."""
        rows = await self._driver.rows(query("refill_snapshot"), pool)
        if not rows:
            raise Refused(f"there is no pool {pool}: apply a pools file that names it")
        return _snapshot(rows[0])

    async def wanted(self) -> frozenset[tuple[str, int]]:
        """(pool, revision) of each revision that would make the containers wanted now."""
        rows = await self._driver.rows(query("wanted_revisions"))
        return frozenset((pool, revision) for pool, revision in rows)

    async def revision(self, pool: str, number: int) -> PoolSpec:
        """The specification as it was applied. Raises `Refused` for an unknown one."""
        rows = await self._driver.rows(query("revision"), pool, number)
        if not rows:
            raise Refused(f"pool {pool} has no revision {number}")
        return PoolSpec.model_validate(rows[0])


def _snapshot(row: dict[str, Any]) -> Snapshot:
    return Snapshot(
        pool=answers.pool(row["pool"]),
        nodes=tuple(_node(each) for each in row["nodes"]),
        notebooks=tuple(answers.notebook(each) for each in row["notebooks"]),
        taken_at=answers.moment(row["taken_at"]),
        stamp=row["stamp"],
        waiting=row["waiting"],
        activating=row["activating"],
        served_at=answers.moment(row["served_at"]) if row["served_at"] else None,
        failures=tuple(_failure(each) for each in row["failures"]),
        same_revisions=frozenset(row["same_revisions"]),
    )


def _node(row: dict[str, Any]) -> NodeView:
    return NodeView(**row | {"state": NodeState(row["state"])})


def _failure(row: dict[str, Any]) -> Failure:
    return Failure(**row | {"last_at": answers.moment(row["last_at"])})
