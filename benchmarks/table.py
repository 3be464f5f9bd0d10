"""The figures as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.goals import Goal
from benchmarks.runs import Run, middle, quantile

FIGURES = (
    "ready_p50_ms",
    "ready_p95_ms",
    "after_ready_p50_ms",
    "cpu_seconds",
    "cpu_seconds_less_idle",
)


def summary(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row per (scene, users, hub): medians over runs, ratios to the floor and DockerSpawner."""
    keys = dict.fromkeys((r.scene, r.users, r.hub) for r in runs)
    rows = [_row(key, [r for r in runs if (r.scene, r.users, r.hub) == key]) for key in keys]
    beside = {(row["users"], row["hub"]): row for row in rows if row["scene"] == "burst"}
    for row in rows:
        for other in ("floor", "dockerspawner"):
            found = beside.get((row["users"], other), {})
            for figure in FIGURES:
                if found.get(figure):
                    row[f"{figure}_over_{other}"] = round(row[figure] / found[figure], 3)
    return rows


def _row(key: tuple[str, int, str], both: Sequence[Run]) -> dict[str, Any]:
    # Of a scene that was only run with kernels, the starts are as good.
    mine = [r for r in both if not r.kernels and not r.problem] or [r for r in both if r.seen]
    return {
        "scene": key[0],
        "users": key[1],
        "hub": key[2],
        "runs": len(mine),
        "failed": sum(r.failed for r in both),
        "trouble": sum(1 for r in both if r.problem),
        "ready_p50_ms": round(middle(middle(r.ready()) for r in mine), 1),
        "ready_p95_ms": round(middle(quantile(r.ready(), 0.95) for r in mine), 1),
        "after_ready_p50_ms": round(middle(middle(r.after_ready()) for r in both if r.kernels), 1),
        "cpu_seconds": round(middle(r.cpu_seconds for r in mine), 3),
        "cpu_seconds_less_idle": round(middle(r.cpu_seconds - r.idle_cpu_seconds for r in mine), 3),
        "cpu_per_start": round(
            middle((r.cpu_seconds - r.idle_cpu_seconds) / max(1, len(r.seen)) for r in mine), 3
        ),
        "refill_seconds": round(
            middle(r.refill_seconds for r in mine if r.refill_seconds is not None), 1
        ),
        "cold": sum(r.cold for r in mine),
    }


COLUMNS = (
    ("scene", "scene"),
    ("users", "users"),
    ("hub", "hub"),
    ("runs", "runs"),
    ("failed", "failed"),
    ("ready_p50_ms", "ready p50"),
    ("ready_p95_ms", "ready p95"),
    ("ready_p50_ms_over_floor", "p50/floor"),
    ("ready_p95_ms_over_floor", "p95/floor"),
    ("ready_p50_ms_over_dockerspawner", "p50/docker"),
    ("ready_p95_ms_over_dockerspawner", "p95/docker"),
    ("after_ready_p50_ms", "result-ready"),
    ("after_ready_p50_ms_over_dockerspawner", "/docker"),
    ("cpu_seconds", "CPU s"),
    ("cpu_seconds_over_dockerspawner", "/docker"),
    ("cpu_seconds_less_idle", "less idle"),
    ("cpu_seconds_less_idle_over_dockerspawner", "/docker"),
    ("cpu_per_start", "per start"),
    ("refill_seconds", "refill s"),
    ("cold", "cold"),
)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table for people, in milliseconds and CPU seconds; empty where nothing was measured."""
    lines = [" | ".join(title for _, title in COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        cells = (row.get(key, "") for key, _ in COLUMNS)
        lines.append(" | ".join("" if cell != cell else str(cell) for cell in cells))
    return _framed(lines)


def goals(found: Sequence[Goal]) -> str:
    """Goals and verdicts, as rows for docs/benchmarks.md."""
    lines = ["what | goal | measured | ", "--- | --- | --- | ---"]
    lines += [f"{g.what} | {g.goal} | {g.measured} | {g.verdict}" for g in found]
    return _framed(lines)


def stages(runs: Sequence[Run]) -> str:
    """Where the milliseconds and the CPU of our starts are: medians over the runs of a scene."""
    told = []
    for key in dict.fromkeys((r.scene, r.users) for r in runs if r.stages):
        mine = [r for r in runs if (r.scene, r.users) == key and r.stages and not r.kernels]
        names = dict.fromkeys(name for r in mine for name in r.stages)
        parts = [f"{name} {_stage(mine, name)}" for name in names]
        told.append(f"{key[1]} x {key[0]}, ms p50/p95: {', '.join(parts)}")
    for who in dict.fromkeys((r.scene, r.users, r.hub) for r in runs if r.cpu_by):
        mine = [r for r in runs if (r.scene, r.users, r.hub) == who and not r.kernels]
        names = dict.fromkeys(name for r in mine for name in r.cpu_by)
        used = {name: middle(r.cpu_by.get(name, 0.0) for r in mine) for name in names}
        ordered = sorted((name for name in used if used[name] >= 0.01), key=lambda n: -used[n])
        parts = [f"{name} {used[name]:.2f}" for name in ordered]
        told.append(f"{who[1]} x {who[2]}, {who[0]}, CPU s to the last ready: {', '.join(parts)}")
    return "\n".join(told)


def _stage(runs: Sequence[Run], name: str) -> str:
    figures = [r.stages[name] for r in runs if name in r.stages]
    p50, p95 = (middle(each[share] for each in figures) for share in ("p50", "p95"))
    return f"{p50:.0f}/{p95:.0f}"


def _framed(lines: Sequence[str]) -> str:
    return "\n".join(f"| {line} |" for line in lines)
