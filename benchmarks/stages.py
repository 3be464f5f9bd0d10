"""Where the milliseconds of starts were, by the lease workers' own lines."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.runs import middle, quantile

SERVED = "lease.served"


def of(log: Path, users: Collection[str]) -> dict[str, dict[str, float]]:
    """{stage: {p50, p95}} in milliseconds, of the starts of these people."""
    wanted = set(users)
    return quantiles([s["stages"] for s in _served(log) if s.get("user") in wanted])


def quantiles(stages: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """By stage, of the starts that had it."""
    found = {}
    for name in dict.fromkeys(name for each in stages for name in each):
        values = sorted(float(each[name]) for each in stages if name in each)
        found[name] = {"p50": round(middle(values), 1), "p95": round(quantile(values, 0.95), 1)}
    return found


def _served(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        if f'"{SERVED}"' not in line:
            continue
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("stages"), dict):
            yield said
