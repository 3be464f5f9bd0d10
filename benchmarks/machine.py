"""CPU seconds that the whole machine used: nothing that works for a click can hide."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
QUIET_SHARE = 0.15
QUIET_SECONDS = 2.0
# Of one that somebody uses; a warm one holds less.
NOTEBOOK_MIB = 140


def busy_seconds() -> float:
    """Since boot, all cores: everything but idle and waiting for disks."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return (user + nice + system + irq + softirq) / TICKS


async def quiet(*, at_most_seconds: float = 120) -> None:
    """Wait until the machine has used little for two seconds, or long enough has passed."""
    give_up = time.monotonic() + at_most_seconds
    while time.monotonic() < give_up:
        before = busy_seconds()
        await asyncio.sleep(QUIET_SECONDS)
        if busy_seconds() - before < QUIET_SHARE * QUIET_SECONDS:
            return


def holds(notebooks: int) -> bool:
    """Whether so many fit into memory, with a quarter of it left for everything else."""
    return notebooks * NOTEBOOK_MIB <= 0.75 * _memory_mib()


def told() -> dict[str, str | int | None]:
    """What a reader must know to compare figures."""
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "memory_gib": round(_memory_mib() / 1024),
    }


def _memory_mib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
