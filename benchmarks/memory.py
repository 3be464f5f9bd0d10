"""How much memory processes hold, and whether it grows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

KIB, MIB = 2**10, 2**20
HUNDRED = 100


def of(roots: Mapping[str, int]) -> dict[str, float]:
    """MiB by name: the process and all below it, memory that several share counted once."""
    return {name: round(sum(map(_pss, tree(pid))) / MIB, 2) for name, pid in roots.items()}


def drift(series: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, dict[str, float]]:
    """By process: the mean of the second hundred leases, of the last, and their ratio.

    `series` are [leases so far, MiB] pairs; empty for what is not long enough to compare.
    """
    found = {}
    for name, points in series.items():
        last = max((point[0] for point in points), default=0.0)
        second = [mib for at, mib in points if HUNDRED < at <= 2 * HUNDRED]
        final = [mib for at, mib in points if at > last - HUNDRED]
        if last >= 3 * HUNDRED and second and final:
            before, after = mean(second), mean(final)
            found[name] = {
                "second_mib": round(before, 1),
                "last_mib": round(after, 1),
                "ratio": round(after / before, 3),
            }
    return found


def twice(log: Path, event: str) -> list[str]:
    """Notebooks of which a log of JSON lines tells this event for more than one lease."""
    leases: Counter[str] = Counter()
    told = set()
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        if f'"{event}"' not in line:
            continue
        try:
            said = json.loads(line)
        except ValueError:
            continue
        told.add((str(said.get("notebook")), str(said.get("lease"))))
    for notebook, _ in told:
        leases[notebook] += 1
    return sorted(notebook for notebook, count in leases.items() if count > 1)


def tree(pid: int) -> list[int]:
    """This process and all below it; empty when it is gone."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("Pss:"))
