"""Milliseconds of a lease by how many notebooks are ready, one line for each number of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.lease_result import Result


def by_what_is_ready(results: Sequence[Result], path: Path) -> Path:
    """A picture with p50 and p99 as PNG at `path`."""
    import matplotlib

    # Without a screen.
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for number, nodes in enumerate(sorted({result.size.nodes for result in results})):
        mine = sorted(
            (result for result in results if result.size.nodes == nodes),
            key=lambda result: result.size.ready,
        )
        for share, style in (("p50_ms", "--"), ("p99_ms", "-")):
            axes.plot(
                [result.size.ready for result in mine],
                [result.open_loop.quantiles()[share] for result in mine],
                style, marker="o", color=f"C{number}",
                label=f"{share.partition('_')[0]}, {nodes} node{'s' if nodes > 1 else ''}",
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("notebooks ready")
    axes.set_ylabel("ms from when a lease is due to lease.serving")
    axes.legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
