"""Limits: how many leases one person, or a group's members together, may have open at once.

Open is every lease that has not ended: who waits in line counts. The same two keys stand in a
pool, where they count that pool, and in `[limits]`, where they count all pools together. Each
limit that a request falls under must hold. Users and groups are those of one hub: two hubs may
know different people by one name.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_GROUPS = 50

GroupName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
PerUser = Annotated[
    int | None,
    Field(ge=1, le=100_000, description="open leases of one person; default: no limit"),
]
PerGroup = Annotated[
    dict[GroupName, Annotated[int, Field(ge=0, le=100_000)]],
    Field(max_length=MAX_GROUPS, description="open leases of a group's members together"),
]


class Limits(BaseModel):
    """`[limits]` of the pools file: they count all pools together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_per_user: PerUser = None
    max_per_group: PerGroup = Field(default_factory=dict)
