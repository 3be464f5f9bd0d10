"""On which nodes new notebooks go, and in words why some cannot go anywhere."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence

from controlplane.decide.refill_fleet import Fleet
from controlplane.decide.refill_snapshot import Failure


def place(fleet: Fleet, wanted: Sequence[str | None]) -> Counter[str]:
    """Creates by node: those bound to a node there, the others where fewest are warm or coming.

    Ties go to the node with most free places. Nothing is placed past a node's room or the
    pool's maximum, so fewer may be placed than wanted.
    """
    room = {node: fleet.room(node) for node in fleet.nodes}
    left = _left(fleet)
    placed: Counter[str] = Counter()
    # The line comes before targets of single nodes.
    for node, count in _spread(fleet, room, min(left, sum(w is None for w in wanted))).items():
        placed[node] += count
    left -= placed.total()
    for bound in wanted:
        if bound is not None and room[bound] > placed[bound] and left > 0:
            placed[bound] += 1
            left -= 1
    return placed


def _left(fleet: Fleet) -> int:
    maximum = fleet.snapshot.pool.spec.maximum
    # Without a maximum the nodes' own limits hold.
    places = sum(n.max_notebooks for n in fleet.nodes.values())
    return places if maximum is None else max(0, maximum - fleet.occupied)


def _spread(fleet: Fleet, room: dict[str, int], count: int) -> Counter[str]:
    placed: Counter[str] = Counter()
    heap = [
        (fleet.available[node], fleet.nodes[node].occupied - fleet.nodes[node].max_notebooks, node)
        for node, free in room.items()
        if free > 0
    ]
    heapq.heapify(heap)
    while heap and count > 0:
        available, negative_free, node = heapq.heappop(heap)
        placed[node] += 1
        count -= 1
        if placed[node] < room[node]:
            heapq.heappush(heap, (available + 1, negative_free + 1, node))
    return placed


def why_not(fleet: Fleet) -> str:
    """Why not everything that is wanted can be ordered now; empty when it only takes its turn."""
    return "; ".join(_obstacles(fleet))


def _obstacles(fleet: Fleet) -> Iterator[str]:
    if not fleet.nodes:
        yield "no node is ready"
        return
    maximum = fleet.snapshot.pool.spec.maximum
    if maximum is not None and fleet.occupied >= maximum:
        yield (
            f"at capacity: {fleet.occupied} of maximum = {maximum} notebooks "
            f"({fleet.leased} leased, {fleet.going} going away, {len(fleet.outgoing)} older warm)"
        )
    full = [n.node for n in fleet.nodes.values() if n.occupied >= n.max_notebooks]
    if full:
        yield f"at capacity: no place left on {', '.join(sorted(full))}"
    for node, failure in sorted(fleet.failures.items()):
        if node in fleet.nodes:
            yield _failing(fleet, node, failure)


def _failing(fleet: Fleet, node: str, failure: Failure) -> str:
    times = "once" if failure.count == 1 else f"{failure.count} times in a row"
    said = f"revision {failure.revision} failed to warm {times} on {node}"
    if failure.reason:
        said += f" ({failure.reason})"
    retry_at = fleet.retry_at(failure)
    if retry_at is None:
        return f"{said}: stopped there until a new revision, or until the failures are an hour old"
    seconds = max(0.0, (retry_at - fleet.now).total_seconds())
    return f"{said}: next try in {seconds:.0f} s"
