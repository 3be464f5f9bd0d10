"""Limits: how many leases one person, or a group's members together, may have open at once.

Open is every lease that has not ended: who waits in line counts. The same two keys stand in a
pool, where they count that pool, and in `[limits]`, where they count all pools together. Each
limit that a request falls under must hold. Users and groups are those of one hub: two hubs may
know different people by one name.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_GROUPS = 50
# Hubs are told of them, and every pool's must fit into one message with much else.
MAX_BYTES = 8 * 1024

GroupName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
PerUser = Annotated[
    int | None,
    Field(ge=1, le=100_000, description="open leases of one person; default: no limit"),
]


def _short(groups: dict[str, int]) -> dict[str, int]:
    length = len(json.dumps(groups))
    if length > MAX_BYTES:
        raise ValueError(
            f"max_per_group is {length} bytes, and at most {MAX_BYTES} fit into what hubs are "
            "told: limit fewer groups, or shorter names"
        )
    return groups


PerGroup = Annotated[
    dict[GroupName, Annotated[int, Field(ge=0, le=100_000)]],
    Field(max_length=MAX_GROUPS, description="open leases of a group's members together"),
    AfterValidator(_short),
]


class Limits(BaseModel):
    """`[limits]` of the pools file: they count all pools together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_per_user: PerUser = None
    max_per_group: PerGroup = Field(default_factory=dict)
