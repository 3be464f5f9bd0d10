"""The figures as a table, as JSON and as a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.people import Burst, middle, quantile

FIGURES = (
    "ready_p50_ms",
    "ready_p95_ms",
    "after_ready_p50_ms",
    "cpu_seconds",
    "cpu_seconds_less_idle",
)


def summary(bursts: Sequence[Burst]) -> list[dict[str, Any]]:
    """One row per (users, hub): medians over runs, ratios to the floor and to DockerSpawner."""
    rows = [_row(key, bursts) for key in dict.fromkeys((b.users, b.hub) for b in bursts)]
    for row in rows:
        for other in ("floor", "dockerspawner"):
            beside = next(
                (r for r in rows if (r["users"], r["hub"]) == (row["users"], other)), None
            )
            for figure in FIGURES:
                if beside and beside[figure]:
                    row[f"{figure}_over_{other}"] = round(row[figure] / beside[figure], 3)
    return rows


def _row(key: tuple[int, str], bursts: Sequence[Burst]) -> dict[str, Any]:
    both = [b for b in bursts if (b.users, b.hub) == key]
    mine = [b for b in both if not b.kernels]
    return {
        "users": key[0],
        "hub": key[1],
        "runs": len(mine),
        "failed": sum(b.failed for b in both),
        "ready_p50_ms": round(middle([middle(b.ready()) for b in mine]), 1),
        "ready_p95_ms": round(middle([quantile(b.ready(), 0.95) for b in mine]), 1),
        "after_ready_p50_ms": round(
            middle([middle(b.after_ready()) for b in both if b.kernels]), 1
        ),
        "cpu_seconds": round(middle([b.cpu_seconds for b in mine]), 3),
        "cpu_seconds_less_idle": round(
            middle([b.cpu_seconds - b.idle_cpu_seconds for b in mine]), 3
        ),
    }


COLUMNS = (
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
)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table for people, in milliseconds and CPU seconds."""
    lines = [" | ".join(title for _, title in COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        lines.append(" | ".join(str(row.get(key, "")) for key, _ in COLUMNS))
    return "\n".join(f"| {line} |" for line in lines)


def write(directory: Path, bursts: Sequence[Burst], told: dict[str, Any]) -> Path:
    """`spawn.json` with every person's figures, `spawn.md` and `spawn.png`."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = summary(bursts)
    body = {"machine": told, "rows": rows, "bursts": [b.as_dict() for b in bursts]}
    path = directory / "spawn.json"
    path.write_text(json.dumps(body, indent=1) + "\n")
    (directory / "spawn.md").write_text(markdown(rows) + "\n")
    plot(directory / "spawn.png", bursts)
    return path


def plot(path: Path, bursts: Sequence[Burst]) -> None:
    """Ready times of every person, by users and hub, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = list(dict.fromkeys((b.users, b.hub) for b in bursts))
    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(keys) + 1.5))
    for at, key in enumerate(keys):
        values = [v / 1000 for b in bursts if (b.users, b.hub) == key for v in b.ready()]
        axes.plot(values, [at] * len(values), "o", alpha=0.35, markersize=5)
    axes.set_yticks(range(len(keys)), [f"{users} x {hub}" for users, hub in keys])
    axes.set_xscale("log")
    axes.set_xlabel("seconds from the click to ready, each person")
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
