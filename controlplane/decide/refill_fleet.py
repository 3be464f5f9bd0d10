"""One pool's notebooks sorted by what they mean to refill, and the room left on its nodes."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from controlplane.decide.refill_snapshot import Failure, NodeView, Snapshot
from controlplane.model.phases import NodeState, NotebookPhase
from controlplane.model.rows import Notebook

# A create travels, waits for its turn on the node, may pull an image and rehearse.
STUCK_AFTER = timedelta(minutes=15)
# More at once would only queue inside the agent, where a changed plan cannot reach them.
IN_FLIGHT_PER_NODE = 16
FAILURES_BEFORE_STOP = 10
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0

_COMING = frozenset({NotebookPhase.CREATING, NotebookPhase.WARMING})
_UNHELD = _COMING | {NotebookPhase.READY}
_AWAY = frozenset({NotebookPhase.RETIRING, NotebookPhase.FAILED})


@dataclass(frozen=True)
class Fleet:
    """A snapshot at `now`, with names for its parts. Old means superseded or too old."""

    snapshot: Snapshot
    now: datetime

    @cached_property
    def nodes(self) -> dict[str, NodeView]:
        """Nodes that can be offered."""
        return {n.node: n for n in self.snapshot.nodes if n.state is NodeState.READY}

    @cached_property
    def ready(self) -> list[Notebook]:
        """Warm, of the wanted kind, young, on a node that can be offered; oldest first."""
        return [n for n in self._ready if not self.is_old(n)]

    @cached_property
    def outgoing(self) -> list[Notebook]:
        """Warm and offered, to be replaced one for one; oldest first."""
        return [n for n in self._ready if self.is_old(n)]

    @cached_property
    def coming(self) -> list[Notebook]:
        """Ordered or warming, of the wanted kind, on a node that can be offered."""
        return [n for n in self._coming if not self.is_superseded(n)]

    @cached_property
    def coming_old(self) -> list[Notebook]:
        """Ordered or warming of an older revision; they may still serve somebody."""
        return [n for n in self._coming if self.is_superseded(n)]

    @cached_property
    def failed(self) -> list[Notebook]:
        """Their containers still have to go."""
        return [n for n in self.snapshot.notebooks if n.phase is NotebookPhase.FAILED]

    @cached_property
    def stuck(self) -> list[Notebook]:
        """Creates that will not end by themselves."""
        return [n for n in self._coming if self.now - n.phase_at >= STUCK_AFTER]

    @cached_property
    def draining(self) -> list[Notebook]:
        """Unheld notebooks on nodes that somebody wants empty."""
        nodes = {n.node for n in self.snapshot.nodes if n.state is NodeState.DRAINING}
        return [n for n in self.snapshot.notebooks if n.phase in _UNHELD and n.node in nodes]

    @cached_property
    def leased(self) -> int:
        """Notebooks that people hold."""
        return sum(n.phase is NotebookPhase.LEASED for n in self.snapshot.notebooks)

    @cached_property
    def going(self) -> int:
        """Containers that are still going away."""
        return sum(n.phase in _AWAY for n in self.snapshot.notebooks)

    @cached_property
    def occupied(self) -> int:
        """What counts against the pool's maximum. On a lost node only what people hold does."""
        lost = {n.node for n in self.snapshot.nodes if n.state is NodeState.LOST}
        gone = (NotebookPhase.GONE, NotebookPhase.LOST)
        return sum(
            n.phase is NotebookPhase.LEASED or (n.phase not in gone and n.node not in lost)
            for n in self.snapshot.notebooks
        )

    @cached_property
    def target(self) -> int:
        """Warm notebooks wanted, as far as the maximum leaves room beside what people hold."""
        spec = self.snapshot.pool.spec
        wanted = spec.target(len(self.nodes))
        if spec.maximum is None:
            return wanted
        return max(0, min(wanted, spec.maximum - self.leased - self.going))

    @cached_property
    def available(self) -> Counter[str]:
        """Ready and coming of the wanted kind, by node."""
        return Counter(n.node for n in (*self.ready, *self.coming))

    @cached_property
    def failures(self) -> dict[str, Failure]:
        """Warm-ups of the newest revision that failed, by node."""
        newest = self.snapshot.pool.revision
        return {f.node: f for f in self.snapshot.failures if f.revision == newest and f.count}

    def is_superseded(self, notebook: Notebook) -> bool:
        """Its revision would make another container than the newest one."""
        same = self.snapshot.same_revisions | {self.snapshot.pool.revision}
        return notebook.revision not in same

    def is_old(self, notebook: Notebook) -> bool:
        """To be replaced."""
        return self.is_superseded(notebook) or self.stale_at(notebook) <= self.now

    def stale_at(self, notebook: Notebook) -> datetime:
        """When it is too old. Spread over the last tenth of the age, so not all go at once."""
        share = 0.9 + 0.1 * zlib.crc32(notebook.notebook.encode()) / 2**32
        age = self.snapshot.pool.spec.max_age_seconds * share
        return notebook.created_at + timedelta(seconds=age)

    def retry_at(self, failure: Failure) -> datetime | None:
        """When a failing node may try again; None: not before its failures are forgotten."""
        if failure.count >= FAILURES_BEFORE_STOP:
            return None
        backoff = FIRST_BACKOFF_SECONDS * 2 ** (failure.count - 1)
        return failure.last_at + timedelta(seconds=min(LONGEST_BACKOFF_SECONDS, backoff))

    def room(self, node: str) -> int:
        """Creates that this node takes now."""
        view = self.nodes[node]
        in_flight = self._in_flight[node]
        room = min(view.max_notebooks - view.occupied, IN_FLIGHT_PER_NODE - in_flight)
        failure = self.failures.get(node)
        if failure is not None:
            retry_at = self.retry_at(failure)
            trying = retry_at is not None and retry_at <= self.now
            # One probe at a time until one of them is warm again.
            room = min(room, 1 - in_flight) if trying else 0
        return max(0, room)

    @cached_property
    def _in_flight(self) -> Counter[str]:
        return Counter(n.node for n in self._coming)

    @cached_property
    def _ready(self) -> list[Notebook]:
        found = (n for n in self.snapshot.notebooks if n.phase is NotebookPhase.READY)
        return sorted((n for n in found if n.node in self.nodes), key=_age)

    @cached_property
    def _coming(self) -> list[Notebook]:
        found = (n for n in self.snapshot.notebooks if n.phase in _COMING)
        return sorted((n for n in found if n.node in self.nodes), key=_age)


def _age(notebook: Notebook) -> tuple[datetime, str]:
    return notebook.created_at, notebook.notebook
