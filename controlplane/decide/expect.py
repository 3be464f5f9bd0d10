"""What somebody who asks a pool now may expect: for the form that a hub shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.decide.lease import outlook
from controlplane.decide.lease_snapshot import Line
from controlplane.messages import PoolOutlook
from controlplane.model import Limits
from controlplane.model.rows import Pool


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """One pool, as one hub may use it.

    line       its numbers; whoever waits is counted in `waiting` and not named
    warm       ready notebooks on ready nodes that reach the hub
    waiting    people in line
    of_groups  the hub's open leases of the pool by group, for groups that its limits name
    """

    pool: Pool
    line: Line
    warm: int
    waiting: int
    of_groups: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Shelves:
    """Every pool that is offered, and the limits over all pools; `of_groups` as in a shelf."""

    shelves: tuple[Shelf, ...]
    limits: Limits
    of_groups: Mapping[str, int]


def at_once(shelf: Shelf) -> bool:
    """Is there one more than the line will take?"""
    return shelf.warm > shelf.waiting and not shelf.pool.spec.paused


def expect(shelf: Shelf, pace: float | None = None) -> PoolOutlook:
    """How it looks for the next person. `pace`: notebooks becoming ready per second, if known."""
    numbers = {"warm": shelf.warm, "warming": shelf.line.warming, "waiting": shelf.waiting}
    if shelf.pool.spec.paused:
        return PoolOutlook(**numbers, why="nothing_coming", detail="the pool is paused")
    if at_once(shelf):
        return PoolOutlook(**numbers, why="ready", wait_seconds=0)
    told = outlook(shelf.line, pace)
    place = shelf.waiting - shelf.warm + 1
    wait = None if told.eta_seconds is None else round(told.eta_seconds * place, 1)
    return PoolOutlook(**numbers, why=told.why, wait_seconds=wait, detail=told.detail)
