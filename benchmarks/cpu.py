"""CPU seconds of processes, from /proc: a service's children and its dead included."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """By name: user and system time so far of the process with this pid and all below it.

    Of this process its own alone: those that it started have names of their own.
    """
    times, children = _all()
    children[os.getpid()] = []
    return {name: _of_tree(pid, times, children) / TICKS for name, pid in roots.items()}


def of_threads(pid: int, name: str) -> float:
    """User and system time so far of this process' threads of this name: part of `seconds`."""
    ticks = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        if (thread / "comm").read_text().strip() == name:
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each of them used in between."""
    return {name: round(after[name] - before.get(name, 0.0), 3) for name in after}


def parse(stat: str) -> tuple[int, int]:
    """A line of /proc/<pid>/stat: the parent, and ticks of itself and its reaped children.

    The reaped ones of a service are its dead workers; ours are commands of before.
    """
    # The name (field 2) may hold spaces and parentheses; fields are counted after it.
    fields = stat.rpartition(")")[2].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15])


def _all() -> tuple[dict[int, int], dict[int, list[int]]]:
    times: dict[int, int] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent, ticks = parse((entry / "stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        times[int(entry.name)] = ticks
        children[parent].append(int(entry.name))
    return times, children


def _of_tree(pid: int, times: Mapping[int, int], children: Mapping[int, list[int]]) -> int:
    below = sum(_of_tree(child, times, children) for child in children.get(pid, ()))
    return times.get(pid, 0) + below
