"""The line, what is offered first, and when an attempt is over. Pure.

Postgres decides who gets which notebook. What is decided here: the order in which ready
notebooks are tried (`offer`), what people in line are told (`places`), what a report means
for the attempt that it names (`attempt_over`), and whether a prefix is the user's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from urllib.parse import unquote

from controlplane.decide.lease_snapshot import Line
from controlplane.messages import LinePlaces, Place, RunFailed, RunRefused
from controlplane.model.phases import NotebookPhase
from controlplane.model.rows import Notebook


class Offerable(NamedTuple):
    """As much of a ready notebook as its place in the order depends on."""

    notebook: str
    pool: str
    revision: int
    node: str
    phase_at: datetime
    phase: NotebookPhase = NotebookPhase.READY
    lease: str | None = None


# Is it what the pool wants now, its rank on its shelf, the shelf's length, and which it is.
Ranked = tuple[bool, float, int, Notebook | Offerable]
Why = Literal["warming", "at_capacity", "nothing_coming"]

# A refill worker that lives has started creates long before this.
NOTHING_STARTED = timedelta(seconds=30)
PLACES_PER_MESSAGE = 400


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What people in a line are told. `eta_seconds`: until the head of the line is served."""

    why: Why
    detail: str = ""
    eta_seconds: float | None = None


CUT_OFF = Outlook(why="nothing_coming", detail="no node's notebooks reach this hub's API")


@dataclass(frozen=True, kw_only=True)
class AttemptOver:
    """This attempt is over; `terminal`: another notebook would end the same way."""

    reason: str
    detail: str
    terminal: bool


def outlook(line: Line, pace: float | None = None) -> Outlook:
    """Why these people wait. `pace`: notebooks of the pool becoming ready per second, if known."""
    if line.nodes == 0:
        return Outlook(why="nothing_coming", detail="no node is ready")
    if line.warming or line.ready:
        return Outlook(why="warming", eta_seconds=_eta(line, pace))
    if line.paused:
        return Outlook(why="nothing_coming", detail="the pool is paused")
    if line.maximum is not None and line.held + line.leaving >= line.maximum:
        return Outlook(why="at_capacity", detail=f"all {line.maximum} notebooks are in use")
    if line.free <= 0:
        return Outlook(why="at_capacity", detail="every node is full")
    if line.failures:
        return Outlook(why="nothing_coming", detail=f"{line.failures} notebooks failed to start")
    if line.waiting and line.taken_at - line.waiting[0].created_at > NOTHING_STARTED:
        return Outlook(why="nothing_coming", detail="nobody makes notebooks: is refill running?")
    # There is room and nothing failed: refill starts creates when it looks next.
    return Outlook(why="warming", eta_seconds=_eta(line, pace))


def places(line: Line, pace: float | None) -> Mapping[str, tuple[LinePlaces, ...]]:
    """What each hub process hears of its people in this line, in messages that fit."""
    told = outlook(line, pace)
    of_process: dict[str, list[Place]] = defaultdict(list)
    cut_off: set[str] = set()
    for place, lease in enumerate(line.waiting, start=1):
        of_process[lease.hub_process].append(Place(lease=lease.lease, place=place))
        if lease.hub in line.cut_off:
            cut_off.add(lease.hub_process)
    return {
        process: tuple(_batches(line, CUT_OFF if process in cut_off else told, theirs))
        for process, theirs in of_process.items()
    }


def offer(
    ready: Iterable[Notebook | Offerable], wanted: Collection[tuple[str, int]] = ()
) -> dict[str, tuple[str, ...]]:
    """Notebook ids by pool, best first: wanted, newest revision, nodes in turns, oldest.

    A node comes as often as it has notebooks: of 20 and 10 two of the one come to one of the
    other, so that a burst is spread over both, and each is drained at the same time.

    `wanted`: the revisions, with their pool, whose containers are what the pool asks for now.
    After a rollback those are not the newest ones.
    """
    free = [n for n in ready if n.phase is NotebookPhase.READY and n.lease is None]
    lengths = Counter((n.pool, n.revision, n.node) for n in free)
    given: Counter[tuple[str, int, str]] = Counter()
    ranked: dict[str, list[Ranked]] = defaultdict(list)
    for notebook in sorted(free, key=lambda n: (n.phase_at, n.notebook)):
        shelf = (notebook.pool, notebook.revision, notebook.node)
        length = lengths[shelf]
        fits = (notebook.pool, notebook.revision) in wanted
        ranked[notebook.pool].append((fits, (given[shelf] + 0.5) / length, length, notebook))
        given[shelf] += 1
    return {
        pool: tuple(row[-1].notebook for row in sorted(rows, key=_best_first))
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


def _best_first(row: Ranked) -> tuple[bool, int, float, int, datetime, str]:
    fits, rank, length, notebook = row
    return (not fits, -notebook.revision, rank, -length, notebook.phase_at, notebook.notebook)


def _eta(line: Line, pace: float | None) -> float | None:
    if pace:
        return round(1 / pace, 1)
    if line.warm_seconds is None:
        return None
    return round(line.warm_seconds / max(line.warming, 1), 1)


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
