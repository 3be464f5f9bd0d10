"""Which limit a form shows as reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from controlplane.spawner.offers import Offer
from controlplane.spawner.reached import limit
from tests.spawner import stage


def reached(
    *, mine: Sequence[str] = (), own: str = "", over_all: dict[str, Any] | None = None, **pool: Any
) -> str:
    """For a member of x and y who asks pool `lab`."""
    lab = stage.pool("lab", **pool)
    offer = Offer(pools={"lab": lab}, at=0, **over_all or {})
    return limit(lab, offer, mine, ("x", "y"), own)


@pytest.mark.parametrize(
    "open_",
    [
        {},
        {"max_per_user": 2, "mine": ["lab", "other", "other"]},
        {"over_all": {"max_per_user": 2}, "mine": ["other"]},
        {"max_per_group": {"x": 5}, "held": {"x": 4}},
        {"max_per_group": {"z": 5}, "held": {"z": 5}},
        {"max_per_group": {"x": 5}},
        # Its own lease in line is superseded, so it does not count.
        {"max_per_group": {"x": 5}, "held": {"x": 5}, "own": "lab"},
        {"over_all": {"max_per_group": {"x": 5}, "held": {"x": 5}}, "own": "other"},
    ],
)
def test_below_its_limits_a_pool_is_open(open_: dict[str, Any]) -> None:
    assert reached(**open_) == ""


@pytest.mark.parametrize(
    ("full", "said"),
    [
        (
            {"max_per_user": 1, "mine": ["lab"]},
            "You have 1 notebook of this pool already, and 1 is the limit.",
        ),
        (
            {"over_all": {"max_per_user": 2}, "mine": ["lab", ""]},
            "You have 2 notebooks already, and 2 is the limit.",
        ),
        (
            {"max_per_group": {"x": 5}, "held": {"x": 5}},
            "The members of group x have 5 notebooks of it, and 5 is the limit for all of them "
            "together.",
        ),
        (
            {"over_all": {"max_per_group": {"x": 9, "y": 0}}},
            "The members of group y have 0 notebooks, and 0 is the limit for all of them together.",
        ),
        (
            {"max_per_group": {"x": 5}, "held": {"x": 5}, "own": "other"},
            "The members of group x have 5 notebooks of it, and 5 is the limit for all of them "
            "together.",
        ),
    ],
)
def test_at_its_limit_a_pool_says_which(full: dict[str, Any], said: str) -> None:
    assert reached(**full) == said
