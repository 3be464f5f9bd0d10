"""An event loop that stands still: only another thread can end that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys, time
from workers import watchdog

watchdog.CHECK_SECONDS = 0.1

async def main():
    dog = watchdog.Watchdog()
    if sys.argv[1] == "stuck":
        time.sleep(600)
    else:
        await asyncio.sleep(watchdog.CHECK_SECONDS * 2 * watchdog.STILL_CHECKS)
    dog.stop()

asyncio.run(main())
"""


def run(kind: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.services  # a process of its own
def test_a_process_whose_event_loop_stands_still_ends_and_shows_where() -> None:
    done = run("stuck")

    assert done.returncode == 1
    assert "process.stuck" in done.stderr
    assert "in main" in done.stderr


@pytest.mark.services  # a process of its own
def test_a_process_whose_event_loop_turns_is_left_alone() -> None:
    assert run("idle").returncode == 0
