"""Which limit a start would break, as far as this hub knows. Pure.

For the form alone: it is Postgres that counts and refuses, in the request's transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from controlplane.messages import KnownPool
from controlplane.spawner.offers import Offer


def limit(
    pool: KnownPool, offer: Offer, mine: Sequence[str], groups: Collection[str], own: str = ""
) -> str:
    """In words for who looks at the form; empty when no limit is reached.

    `mine`: the pools of this person's other servers that run or wait, one entry each. `own`:
    the pool in whose line the server itself already waits, which a start does not count twice.
    """
    here = Counter(mine)[pool.pool]
    for most, have, where in (
        (pool.max_per_user, here, " of this pool"),
        (offer.max_per_user, len(mine), ""),
    ):
        if most is not None and have >= most:
            return f"You have {_notebooks(have)}{where} already, and {most} is the limit."
    return _of_groups(
        pool.max_per_group, _less(pool.held, groups if own == pool.pool else ()), groups, " of it"
    ) or _of_groups(offer.max_per_group, _less(offer.held, groups if own else ()), groups, "")


def _of_groups(
    most: Mapping[str, int], held: Mapping[str, int], groups: Collection[str], where: str
) -> str:
    for group in sorted(most.keys() & set(groups)):
        have = held.get(group, 0)
        if have >= most[group]:
            return (
                f"The members of group {group} have {_notebooks(have)}{where}, and "
                f"{most[group]} is the limit for all of them together."
            )
    return ""


def _less(held: Mapping[str, int], groups: Collection[str]) -> Mapping[str, int]:
    return {group: n - (group in groups) for group, n in held.items()}


def _notebooks(count: int) -> str:
    return f"{count} notebook" if count == 1 else f"{count} notebooks"
