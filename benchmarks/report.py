"""What a benchmark says while it works, and what it leaves behind: JSON, tables, plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks import goals, plots, table
from benchmarks.runs import Log, Run, middle, quantile


def say(line: str) -> None:
    """At once, also into a file."""
    print(line, flush=True)


def line(run: Run) -> str:
    """One run, as soon as it is over."""
    ready = run.ready()
    told = (
        f"{run.users:>4} x {run.hub:<14} {run.scene:<8} ready p50 {middle(ready):8.0f} ms  "
        f"p95 {quantile(ready, 0.95):8.0f} ms  CPU {run.cpu_seconds:6.2f} s "
        f"(idle {run.idle_cpu_seconds:.2f})"
    )
    told += f"  refill {run.refill_seconds:.0f} s" if run.refill_seconds is not None else ""
    told += f"  cold {run.cold}" if run.cold else ""
    told += f"  failed {run.failed}" if run.failed else ""
    return f"{told}\n  !! {run.problem}" if run.problem else told


def tell(log: Log, about: Mapping[str, Any]) -> bool:
    """Print and write what there is, also of a run that was stopped; whether all went well."""
    runs, folder = log.runs, log.path.parent
    if not runs:
        say("Nothing was measured.")
        return False
    rows, found = table.summary(runs), goals.judge(runs)
    texts = [table.markdown(rows), table.goals(found), table.stages(runs)]
    body = {
        "machine": about,
        "rows": rows,
        "goals": [{**vars(goal), "verdict": goal.verdict} for goal in found],
        "runs": [run.as_dict() for run in runs],
    }
    (folder / "spawn.json").write_text(json.dumps(body, indent=1) + "\n")
    (folder / "spawn.md").write_text("\n\n".join(texts) + "\n")
    drawn = plots.draw(folder, runs)
    say("\n" + "\n\n".join(texts) + "\n")
    say("\n".join(str(path) for path in (log.path, folder / "spawn.json", *drawn)))
    return all(run.good for run in runs)
