"""The figures as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runs import Run

COLOURS = {"floor": "#8a8f98", "dockerspawner": "#c1583a", "greenroom": "#2f855a"}
READY, LEASED = "#2f855a", "#5a67d8"


def draw(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """A picture of each kind of scene that was run."""
    drawn = []
    bursts = [run for run in runs if run.scene in ("burst", "dry", "again") and run.ready()]
    if bursts:
        drawn.append(_starts(folder / "spawn.png", bursts))
    for scene in ("dry", "again", "poisson"):
        if mine := [run for run in runs if run.scene == scene and run.series.get("ready")]:
            drawn.append(_over_time(folder / f"{scene}.png", mine[-1]))
    for run in runs:
        if run.scene == "endure" and run.series:
            drawn.append(_memory(folder / "endure.png", run))
    return drawn


def _starts(path: Path, runs: Sequence[Run]) -> Path:
    """Ready times of every person, by scene, users and hub, on a logarithmic axis."""
    keys = list(dict.fromkeys((r.scene, r.users, r.hub) for r in runs))
    figure, axes = _axes(height=0.5 * len(keys) + 1.5)
    for at, key in enumerate(keys):
        mine = (r for r in runs if (r.scene, r.users, r.hub) == key and not r.kernels)
        values = [ms / 1000 for r in mine for ms in r.ready()]
        axes.plot(values, [at] * len(values), "o", alpha=0.3, markersize=5, color=COLOURS[key[2]])
    axes.set_yticks(range(len(keys)), [_label(key) for key in keys])
    axes.set_xscale("log")
    axes.set_xlabel("seconds from the click to ready, each person")
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.invert_yaxis()
    return _saved(figure, path)


def _over_time(path: Path, run: Run) -> Path:
    """How many are warm and held, and above it how long each start took."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True)
    points = [(s.clicked_s, s.ready_ms / 1000) for s in run.seen if s.ready_ms is not None]
    above.plot([at for at, _ in points], [s for _, s in points], "o", markersize=4, color=READY)
    above.set_ylabel("click to ready, s")
    above.set_ylim(bottom=0)
    for name, colour in (("ready", READY), ("leased", LEASED)):
        series = run.series.get(name, ())
        below.plot([p[0] for p in series], [p[1] for p in series], color=colour, label=name)
    below.axhline(run.warm or 0, color=COLOURS["floor"], linestyle=":", label="target")
    below.set_ylabel("notebooks")
    below.set_xlabel("seconds")
    below.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return _saved(figure, path)


def _memory(path: Path, run: Run) -> Path:
    """MiB of each process over leases."""
    figure, axes = _axes(height=4)
    for name, points in run.series.items():
        axes.plot([p[0] for p in points], [p[1] for p in points], label=name)
    axes.set_xlabel("leases")
    axes.set_ylabel("MiB (PSS)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    axes.grid(alpha=0.3)
    return _saved(figure, path)


def _label(key: tuple[str, int, str]) -> str:
    scene = "" if key[0] == "burst" else f" ({key[0]})"
    return f"{key[1]} x {key[2]}{scene}"


def _axes(*, height: float) -> tuple[Any, Any]:
    import matplotlib

    # Loaded only to draw, and never for a screen.
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, height))
    return figure, axes


def _saved(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    return path
