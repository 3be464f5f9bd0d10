"""A list of leases that is too long for one message, in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from controlplane.messages import EVERY_LEASE


def spans(leases: Sequence[str], at_most: int) -> Iterator[tuple[Sequence[str], tuple[str, str]]]:
    """Sorted ids in parts, at least one, each with the span (from, to) that it is all of.

    The spans follow each other without a gap, so what no part names is known to nobody here.
    """
    starts = range(0, max(len(leases), 1), at_most)
    first, last = EVERY_LEASE
    bounds = [first, *(leases[start] for start in starts[1:]), last]
    for start, between in zip(starts, pairwise(bounds), strict=True):
        yield leases[start : start + at_most], between
