"""The line, what is offered first, and when an attempt is over. Pure.

Postgres decides who gets which notebook. What is decided here: the order in which ready
notebooks are tried (`offer`), what people in line are told (`places`), what a report means
for the attempt that it names (`attempt_over`), and whether a prefix is the user's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import unquote

from controlplane.messages import LinePlaces, Place, RunFailed, RunRefused
from controlplane.model.phases import NotebookPhase
from controlplane.model.rows import Notebook

Why = Literal["warming", "at_capacity", "nothing_coming"]

# A refill worker that lives has started creates long before this.
NOTHING_STARTED = timedelta(seconds=30)
PLACES_PER_MESSAGE = 400


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """One lease in line, and the hub process that wants to hear of it."""

    lease: str
    hub_process: str
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Line:
    """The people waiting for one pool, in order of arrival, and what may come for them.

    warming    notebooks creating or warming
    occupied   notebooks that may still have a container: all phases but gone and lost
    maximum    the pool's limit, None without one
    nodes      nodes that are offered
    room       notebooks that those nodes could still hold, of any pool
    failure    why the newest warm-up failed, empty once a later one became ready
    taken_at   Postgres' clock
    """

    pool: str
    waiting: tuple[Waiter, ...]
    taken_at: datetime
    warming: int = 0
    occupied: int = 0
    maximum: int | None = None
    nodes: int = 0
    room: int = 0
    failure: str = ""
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What people in a line are told. `eta_seconds`: until the head of the line is served."""

    why: Why
    detail: str = ""
    eta_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttemptOver:
    """This attempt is over; `terminal`: another notebook would end the same way."""

    reason: str
    detail: str
    terminal: bool


def outlook(line: Line, pace: float | None) -> Outlook:
    """Why these people wait. `pace`: notebooks of the pool becoming ready per second, if known."""
    if line.warming:
        return Outlook(why="warming", eta_seconds=_eta(pace))
    if line.maximum is not None and line.occupied >= line.maximum:
        return Outlook(why="at_capacity", detail=f"all {line.maximum} notebooks are in use")
    if line.nodes == 0:
        return Outlook(why="nothing_coming", detail="no node is ready")
    if line.room <= 0:
        return Outlook(why="at_capacity", detail="every node is full")
    if line.paused:
        return Outlook(why="nothing_coming", detail="the pool is paused")
    if line.failure:
        return Outlook(why="nothing_coming", detail=f"they do not start: {line.failure[:1900]}")
    if line.waiting and line.taken_at - line.waiting[0].since > NOTHING_STARTED:
        return Outlook(why="nothing_coming", detail="nobody makes notebooks: is refill running?")
    # There is room and nothing failed: refill starts creates within its next look.
    return Outlook(why="warming", eta_seconds=_eta(pace))


def places(line: Line, pace: float | None) -> Mapping[str, tuple[LinePlaces, ...]]:
    """What each hub process hears of its people in this line, in messages that fit."""
    told = outlook(line, pace)
    of_process: dict[str, list[Place]] = defaultdict(list)
    for place, waiter in enumerate(line.waiting, start=1):
        of_process[waiter.hub_process].append(Place(lease=waiter.lease, place=place))
    return {
        process: tuple(_batches(line, told, theirs)) for process, theirs in of_process.items()
    }


def offer(ready: Iterable[Notebook]) -> dict[str, tuple[str, ...]]:
    """Notebook ids by pool, best first: newest revision, node with most of them, oldest."""
    free = [n for n in ready if n.phase is NotebookPhase.READY and n.lease is None]
    # Counted from the oldest, a node's n-th notebook comes when n are left on it: so the
    # fullest node gives first, and nodes take turns once they are level.
    left: Counter[tuple[str, int, str]] = Counter()
    ranked: dict[str, list[tuple[int, int, Notebook]]] = defaultdict(list)
    for notebook in sorted(free, key=lambda n: (n.phase_at, n.notebook), reverse=True):
        shelf = (notebook.pool, notebook.revision, notebook.node)
        left[shelf] += 1
        ranked[notebook.pool].append((notebook.revision, left[shelf], notebook))
    return {
        pool: tuple(n.notebook for _, _, n in sorted(rows, key=_best_first))
        for pool, rows in ranked.items()
    }


def attempt_over(report: RunRefused | RunFailed) -> AttemptOver | None:
    """What this report means for its attempt; None: it goes on."""
    if isinstance(report, RunFailed):
        return AttemptOver(reason=report.reason, detail=report.detail, terminal=False)
    if report.reason == "stale_epoch":
        # The agent is newer than the command: the sweep repeats it with the epoch that
        # Postgres learns from the agent's hello, and the notebook is still unused.
        return None
    return AttemptOver(reason=report.reason, detail=report.detail, terminal=report.terminal)


def prefix_fits(user: str, server: str, prefix: str) -> bool:
    """Is this the path that JupyterHub gives to this user's server, under any base URL?"""
    own = f"/user/{user}/{server}/" if server else f"/user/{user}/"
    return unquote(prefix).endswith(own)


def _best_first(row: tuple[int, int, Notebook]) -> tuple[int, int, datetime, str]:
    revision, left, notebook = row
    return (-revision, -left, notebook.phase_at, notebook.notebook)


def _eta(pace: float | None) -> float | None:
    return round(1 / pace, 1) if pace else None


def _batches(line: Line, told: Outlook, theirs: list[Place]) -> Iterable[LinePlaces]:
    for start in range(0, len(theirs), PLACES_PER_MESSAGE):
        yield LinePlaces(
            pool=line.pool,
            why=told.why,
            warming=line.warming,
            eta_seconds=told.eta_seconds,
            detail=told.detail,
            places=tuple(theirs[start : start + PLACES_PER_MESSAGE]),
        )
