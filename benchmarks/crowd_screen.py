"""A crowd as a screen: one row for each person, as many columns of rows as the terminal needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.runs import quantile

# name, bar, stage, seconds, and the spaces between them
CELL, GAP = 42, 3
NAME, STAGE, SECONDS = 10, 12, 7
# Above and below the rows: title, blank, blank, summary.
AROUND = 5
COLOURS = {"ready": "green", "failed": "red", "in line": "yellow"}
FULL, EMPTY = "\N{FULL BLOCK}", "\N{LIGHT SHADE}"


@dataclass
class Person:
    """One person's start as the hub tells of it. `began` and `ended` are monotonic seconds."""

    name: str
    stage: str = "waits"
    place: int | None = None
    share: float = 0.0
    stood_in_line: bool = False
    began: float | None = None
    ended: float | None = None
    problem: str = ""

    def click(self, now: float) -> None:
        """Pressed Start; again after being sent away is still the same wait."""
        self.began = now if self.began is None else self.began
        self.stage = "asks"

    def hear(self, event: dict[str, Any]) -> None:
        """One event of the hub's progress stream."""
        self.share = max(self.share, min(float(event.get("progress") or 0) / 100, 0.99))
        queue = event.get("queue")
        if isinstance(queue, dict):
            self.stage, self.place = "in line", int(queue.get("position") or 0) or None
            self.stood_in_line = True
        elif self.share >= 0.7:
            self.stage, self.place = "found", None

    def ready(self, now: float) -> None:
        self.stage, self.share, self.ended = "ready", 1.0, now

    def fail(self, problem: str, now: float) -> None:
        self.stage, self.problem, self.ended = "failed", problem, now

    def seconds(self, now: float) -> float | None:
        """Since the click; until it was ready or failed."""
        return None if self.began is None else (self.ended or now) - self.began

    @property
    def words(self) -> str:
        return f"in line: {self.place}" if self.stage == "in line" and self.place else self.stage


def columns(people: int, *, width: int, height: int) -> int:
    """Columns of rows side by side that show everybody; 0 where the terminal is too small."""
    rows = height - AROUND
    if rows < 1:
        return 0
    wanted = -(-people // rows)
    return wanted if wanted * (CELL + GAP) - GAP <= width else 0


def screen(people: Sequence[Person], now: float, *, width: int, height: int) -> Group:
    """Everybody, in reading order down the columns, and how it stands."""
    wanted = max(1, columns(len(people), width=width, height=height))
    rows = -(-len(people) // wanted)
    cell = min((width + GAP) // wanted - GAP, 2 * CELL)
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for _ in range(wanted):
        grid.add_column(width=cell, no_wrap=True)
    for at in range(rows):
        beside = people[at::rows]
        grid.add_row(*(row(person, now, width=cell) for person in beside))
    title = Text(f"{len(people)} people press Start at once", style="bold")
    return Group(title, Text(), grid, Text(), Text(summary(people, now)))


def row(person: Person, now: float, *, width: int) -> Text:
    """One person: name, bar, stage, seconds."""
    length = max(4, width - NAME - STAGE - SECONDS - 3)
    full = round(person.share * length)
    seconds = person.seconds(now)
    colour = COLOURS.get(person.stage, "cyan")
    return Text.assemble(
        f"{person.name[:NAME]:<{NAME}} ",
        (FULL * full, colour),
        (EMPTY * (length - full), "dim"),
        (f" {person.words[:STAGE]:<{STAGE}} ", colour),
        f"{'' if seconds is None else f'{seconds:.2f} s':>{SECONDS}}",
    )


def summary(people: Sequence[Person], now: float) -> str:
    """How many are ready, and the times of those."""
    times = sorted(
        seconds for p in people if p.stage == "ready" and (seconds := p.seconds(now)) is not None
    )
    told = f"{len(times)} of {len(people)} ready"
    if times:
        told += f"   p50 {quantile(times, 0.5):.2f} s   p95 {quantile(times, 0.95):.2f} s"
        told += f"   first {times[0]:.2f} s   last {times[-1]:.2f} s"
    in_line = sum(1 for p in people if p.stage == "in line")
    failed = sum(1 for p in people if p.stage == "failed")
    told += f"   {in_line} in line" if in_line else ""
    return told + (f"   {failed} failed" if failed else "")


def line(person: Person, people: Sequence[Person], now: float) -> str:
    """For a log: one person has arrived, or will not."""
    done = sum(1 for p in people if p.ended is not None)
    seconds = person.seconds(now) or 0.0
    told = f"{done:>4} of {len(people)}  {person.name:<{NAME}} {person.stage:<7} {seconds:7.2f} s"
    return f"{told}  {person.problem}".rstrip()
