"""`scripts/bench profile`: what an activation costs, part by part, in one container.

No Greenroom runs: a script in the container plays agent, hub and browser and activates one notebook
after the other, as `docs/container.md` says. `--against` takes a second folder of `notebook/`, of
an earlier commit for example, and the two take turns. Milliseconds are medians, and the least ever
seen beside them: on a machine with other work the least is nearer to the truth.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from scripts.stack.places import CHECKOUT

INSIDE = Path(__file__).resolve().parent / "inside"
SECONDS_PER_START = 60
AREAS_SHOWN = 24


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench profile", description=__doc__)
    parser.add_argument("--runs", type=int, default=8, help="starts per folder")
    parser.add_argument("--image", default="greenroom-demo:latest")
    parser.add_argument("--docker-host", default="", help="the engine, if not docker's own choice")
    parser.add_argument("--against", type=Path, help="a second folder like notebook/")
    parser.add_argument("--out", default=".greenroom/bench/out", help="directory of results")
    told = parser.parse_args(arguments)
    folders = [CHECKOUT / "notebook", *([told.against.resolve()] if told.against else [])]
    starts = _starts(told.docker_host, told.image, folders, runs=told.runs)
    if not starts:
        return 1
    path = CHECKOUT / told.out / "profile.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = machine.told() | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    path.write_text(json.dumps({"machine": about, "starts": starts}, indent=1) + "\n")
    for number, folder in enumerate(folders):
        mine = [start for start in starts if start["folder"] == _inside(number)]
        print(f"\n{folder}: {len(mine)} starts; milliseconds, median (least)\n")
        print("\n".join(lines(mine)))
    return 0


def _inside(number: int) -> str:
    return f"/notebook{number}"


def _starts(
    docker_host: str, image: str, folders: Sequence[Path], *, runs: int
) -> list[dict[str, Any]]:
    """What the container printed; empty, and its words on stderr, if it failed."""
    docker = ["docker", *(["--host", docker_host] if docker_host else [])]
    name = f"greenroom-profile-{secrets.token_hex(4)}"
    mounts = [f"{folder}:{_inside(number)}:ro" for number, folder in enumerate(folders)]
    volumes = [word for mount in (*mounts, f"{INSIDE}:/inside:ro") for word in ("--volume", mount)]
    command = [
        *docker, "run", "--rm", "--name", name, "--network", "none", "--init", *volumes,
        "--tmpfs", "/run/greenroom:mode=1777", "--entrypoint", "python3", image,
        "/inside/drive.py", str(runs), *map(_inside, range(len(folders))),
    ]  # fmt: skip
    seconds = SECONDS_PER_START * (2 * runs + 1) * len(folders)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    finally:
        subprocess.run([*docker, "rm", "--force", name], capture_output=True, check=False)
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
        return []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def lines(starts: Sequence[dict[str, Any]]) -> list[str]:
    """Two tables: what a start cost as a whole, and its areas by CPU."""
    whole = [key for key in starts[0] if key not in ("folder", "areas")]
    table = [_row(key, [float(start[key]) for start in starts]) for key in whole]
    areas = _areas(starts)
    largest = sorted(areas, key=lambda name: -median(areas[name]["cpu"]))[:AREAS_SHOWN]
    shown = [
        _row(f"{name} ({areas[name]['calls'][0]:.0f} calls)", areas[name]["cpu"])
        + f"   wall {median(areas[name]['wall']):6.1f}"
        for name in largest
    ]
    sums = [sum(values[0] for values in start["areas"].values()) for start in starts]
    return [*table, "", *shown, _row("all areas: the main thread", sums)]


def _row(name: str, values: Sequence[float]) -> str:
    return f"  {name:56} {median(values):8.1f} ({min(values):.1f})"


def _areas(starts: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    names = {name for start in starts for name in start["areas"]}
    nothing = [0.0, 0.0, 0.0]
    each = {name: [start["areas"].get(name, nothing) for start in starts] for name in names}
    kinds = ("cpu", "wall", "calls")
    return {
        name: {kind: [row[place] for row in rows] for place, kind in enumerate(kinds)}
        for name, rows in each.items()
    }
