"""Leases' figures for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.lease_result import Result
from benchmarks.simulated.apart import NAME as NOTEBOOKS

COLUMNS = (
    "nodes", "ready", "leases", "p50 ms", "p95 ms", "p99 ms", "max ms", "waited",
    "CPU ms/lease", "of it notebooks", "of it the hub", "of it idle", "saturation/s",
    "doubled", "lost", "failed",
)  # fmt: skip


def row(result: Result) -> list[str]:
    """One size, a text for each column."""
    quantiles = result.open_loop.quantiles()
    best = max(result.saturation, key=lambda each: each[1], default=None)
    return [
        str(result.size.nodes),
        str(result.size.ready),
        str(len(result.open_loop.leases)),
        *(f"{ms:.1f}" for ms in quantiles.values()),
        str(result.waited),
        f"{result.cpu_ms_per_lease:.1f}",
        f"{result.part_ms_per_lease(NOTEBOOKS):.1f}",
        f"{result.part_ms_per_lease('load'):.1f}",
        f"{result.idle_ms_per_lease:.1f}",
        f"{best[1]:.0f} (of {best[0]})" if best else "-",
        str(len(result.verdict.doubled)),
        str(len(result.verdict.lost)),
        str(len(result.verdict.failed)),
    ]


def line(result: Result) -> str:
    """The same in one line, with what is wrong below it."""
    told = ", ".join(f"{name} {text}" for name, text in zip(COLUMNS, row(result), strict=True))
    wrong = [*result.verdict.violations[:5], *result.verdict.failed[:5]]
    if result.verdict.quarantined:
        wrong.append(f"{result.verdict.quarantined} messages are quarantined")
    return "\n".join([f"  {told}", *(f"  !! {text}" for text in wrong)])


def cpu_lines(result: Result) -> str:
    """CPU milliseconds per lease of each process, most first."""
    leases = max(1, len(result.open_loop.leases))
    ordered = sorted(result.cpu.items(), key=lambda each: -each[1])
    shares = (f"{name} {1000 * seconds / leases:.2f}" for name, seconds in ordered)
    loops = (f"{people}: {rate}/s, p95 {p95} ms" for people, rate, p95 in result.saturation)
    return f"  CPU ms per lease: {', '.join(shares)}\n  closed loops: {'; '.join(loops) or '-'}"


def markdown(results: Sequence[Result]) -> str:
    """All sizes as a table."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(row(result) for result in results)]
    return "\n".join(f"| {' | '.join(each)} |" for each in rows)


def growth(results: Sequence[Result]) -> float | None:
    """p99 of the sizes with most ready over that of those with fewest, medians over nodes."""
    by_ready: dict[int, list[float]] = {}
    for result in results:
        by_ready.setdefault(result.size.ready, []).append(result.open_loop.quantiles()["p99_ms"])
    if len(by_ready) < 2:
        return None
    least, most = median(by_ready[min(by_ready)]), median(by_ready[max(by_ready)])
    return most / least if least else None


def write(directory: Path, results: Sequence[Result], about: dict[str, Any]) -> Path:
    """`leases.json`, with every lease's milliseconds, and `leases.md`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "leases.json"
    body = {"machine": about, "sizes": [result.as_dict() for result in results]}
    path.write_text(json.dumps(body, indent=1) + "\n")
    (directory / "leases.md").write_text(markdown(results) + "\n")
    return path
