"""`scripts/bench warmth`: what waiting costs: warm notebooks, and the control plane beside them."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean

from benchmarks import bursts, cpu, hubs, machine, memory, stock
from scripts.stack import commands
from scripts.stack.demo import Demo
from scripts.stack.places import CHECKOUT

MIB = 2**20
# Version 1 of cgroups, as engines on Debian 12 may use it, and version 2.
CPU_FILES = (
    "/sys/fs/cgroup/cpuacct/docker/{id}/cpuacct.usage",
    "/sys/fs/cgroup/system.slice/docker-{id}.scope/cpu.stat",
)
MEMORY_FILES = (
    "/sys/fs/cgroup/memory/docker/{id}/memory.stat",
    "/sys/fs/cgroup/system.slice/docker-{id}.scope/memory.stat",
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench warmth", description=__doc__)
    parser.add_argument("--warm", type=int, default=10, help="warm notebooks")
    parser.add_argument("--idle", type=float, default=60, help="seconds before and while measured")
    parser.add_argument("--out", default=".greenroom/bench/out", help="directory of results")
    told = parser.parse_args(arguments)
    with hubs.running(warm=told.warm, kinds=()) as (stack, _):
        found = asyncio.run(_measure(stack, warm=told.warm, idle=told.idle))
    found["machine"] = machine.told() | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    path = CHECKOUT / told.out / "warmth.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0


async def _measure(stack: Demo, *, warm: int, idle: float) -> dict[str, object]:
    async with stock.watching(stack) as held:
        await held.wait_ready(warm, seconds=bursts.REST_SECONDS)
    ids = _containers(stack)
    cpu_to_warm = [_cpu_seconds(each) for each in ids]
    await machine.quiet()
    await asyncio.sleep(idle)
    roots = bursts.control_plane(stack)
    before = cpu.seconds(roots)
    await asyncio.sleep(idle)
    used = sum(cpu.used(before, cpu.seconds(roots)).values())
    pids = [each for root in roots.values() for each in memory.tree(root)]
    return {
        "warm_notebooks": len(ids),
        "cpu_seconds_to_warm_mean": round(mean(cpu_to_warm), 2),
        "anonymous_mib_mean": round(mean(_anonymous(each) for each in ids) / MIB, 1),
        "control_plane_pss_mib": round(sum(memory.of(roots).values()), 1),
        "control_plane_share_of_a_core": round(used / idle, 4),
        "control_plane_processes": len(pids),
    }


def _containers(stack: Demo) -> list[str]:
    label = f"label=greenroom.installation={stack.installation}"
    words = ["docker", "-H", stack.docker_host, "ps", "-q", "--no-trunc", "--filter", label]
    return (commands.read(words) or "").split()


def _read(candidates: Sequence[str], container: str) -> str:
    for candidate in candidates:
        path = Path(candidate.format(id=container))
        if path.exists():
            return path.read_text()
    raise FileNotFoundError(f"no cgroup of container {container} is where this looks")


def _cpu_seconds(container: str) -> float:
    text = _read(CPU_FILES, container)
    if text.strip().isdecimal():
        return int(text) / 1e9
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6


def _anonymous(container: str) -> int:
    values = dict(line.split() for line in _read(MEMORY_FILES, container).splitlines())
    return int(values.get("total_rss") or values["anon"])
