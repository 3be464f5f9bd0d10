"""What one run measured, and the file that every run is written to as soon as it is over."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.people import Seen
from scripts.stack.places import CHECKOUT

Key = tuple[str, str, int, bool, int]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One scene on one hub, once.

    cpu_seconds       whole machine, from the first click to some seconds after the last ready
    idle_cpu_seconds  what it would have used in that time as it did before the first click
    cpu_by            by process, until the last is ready; `rest` is containers, engine and others
    stages            Greenroom's own: {stage: {p50, p95}} in milliseconds
    refill_seconds    from the first click until the pool is back at its target
    cold              leases whose notebook did not exist when they asked
    series            whatever was followed over time, by name: [seconds, value] pairs
    problem           why the run itself went wrong; what went wrong for people is in `seen`
    """

    hub: str
    users: int
    scene: str = "burst"
    number: int = 0
    kernels: bool = False
    seen: tuple[Seen, ...] = ()
    cpu_seconds: float = 0.0
    idle_cpu_seconds: float = 0.0
    cpu_by: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    warm: int | None = None
    refill_seconds: float | None = None
    cold: int = 0
    series: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def key(self) -> Key:
        """What makes two of them the same measurement."""
        return self.scene, self.hub, self.users, self.kernels, self.number

    @property
    def failed(self) -> int:
        """How many people did not get what they asked for."""
        return sum(1 for seen in self.seen if seen.problem)

    @property
    def good(self) -> bool:
        return not self.problem and not self.failed

    def ready(self) -> list[float]:
        """Milliseconds from click to ready, quickest first."""
        return sorted(s.ready_ms for s in self.seen if s.ready_ms is not None)

    def after_ready(self) -> list[float]:
        """Result minus ready, each person's own."""
        pairs = [(s.ready_ms, s.result_ms) for s in self.seen]
        return sorted(r - y for y, r in pairs if y is not None and r is not None)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Run:
        """The run that `as_dict` was told of."""
        seen = tuple(Seen(**each) for each in body.get("seen", ()))
        return cls(**{**body, "seen": seen})


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of sorted values; nan when there are none."""
    if not values:
        return float("nan")
    return values[min(len(values) - 1, int(share * len(values)))]


def middle(values: Iterable[float]) -> float:
    """The median; nan of nothing."""
    known = list(values)
    return median(known) if known else float("nan")


class Log:
    """Runs as lines of JSON: what a killed benchmark measured is kept, and it can go on."""

    def __init__(self, path: Path, *, go_on: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        if not go_on:
            _put_aside(path)
        self.runs = list(_read(path))

    def about(self, command: Sequence[str]) -> dict[str, Any]:
        """What a reader must know to compare figures; written before the first run."""
        told = {
            **machine.told(),
            "commit": commit(),
            "command": " ".join(command),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write({"about": told})
        return told

    def add(self, run: Run) -> None:
        """Safe on disk when this returns. A run of the same key before it counts no more."""
        self._write({"run": run.as_dict()})
        self.runs = [*(r for r in self.runs if r.key != run.key), run]

    def has(self, key: Key) -> bool:
        """Whether this was measured without trouble."""
        return any(run.key == key and not run.problem for run in self.runs)

    def _write(self, body: Mapping[str, Any]) -> None:
        with self.path.open("a") as out:
            out.write(json.dumps(body) + "\n")
            out.flush()
            os.fsync(out.fileno())


def commit() -> str:
    """The commit that is measured, with a + when files differ from it; empty outside of git."""
    git = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip()


def _put_aside(path: Path) -> None:
    """What was measured before keeps its figures under another name."""
    if path.exists():
        stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y%m%d-%H%M%S")
        path.rename(path.with_name(f"{path.stem}.{stamp}{path.suffix}"))


def _read(path: Path) -> Iterable[Run]:
    """Every key's newest run; a line that a kill cut short is left out."""
    found: dict[Key, Run] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            body = json.loads(line)
        except ValueError:
            continue
        if "run" in body:
            run = Run.of(body["run"])
            found.pop(run.key, None)
            found[run.key] = run
    return found.values()
