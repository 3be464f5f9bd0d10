"""Events back into tables: what the journal says must be what the tables hold.

Kept rows are compared without the seal, which no event ever has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.queries import query

Tables = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change of one row; `change` is None when the row was forgotten."""

    entity: str
    key: str
    version: int
    phase: str
    change: dict[str, Any] | None


def fold(events: Iterable[Event]) -> Tables:
    """The rows that these events lead to, whatever the order they come in."""
    tables: Tables = {}
    for event in sorted(events, key=lambda e: (e.entity, e.key, e.version)):
        row = (event.entity, event.key)
        if event.change is None:
            tables.pop(row, None)
        else:
            tables[row] = tables.get(row, {}) | event.change
    return tables


def text(tables: Tables) -> str:
    """Tables as canonical JSON, one row a line: equal tables are equal byte for byte."""
    lines = [[*row, tables[row]] for row in sorted(tables)]
    return "\n".join(json.dumps(line, sort_keys=True) for line in lines)


async def journaled(driver: Driver) -> list[Event]:
    """Every event that is still kept."""
    rows = await driver.rows(query("events"))
    return [
        Event(entity=entity, key=key, version=version, phase=phase, change=change)
        for entity, key, version, phase, change in rows
    ]


async def tables(driver: Driver) -> Tables:
    """The rows as they are."""
    return {(entity, key): row for entity, key, row in await driver.rows(query("tables"))}
