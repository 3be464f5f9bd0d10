"""Start and stop daemons: each has a log and a pid file, and is only ever stopped by its pid.

A pid file holds the pid and nothing else, for people; beside it, in JSON, are the kernel's start
time of that process (a recycled pid is not ours) and a fingerprint of what was started (a changed
program is restarted, an unchanged one left).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.stack.places import CHECKOUT, Place
from scripts.stack.screen import Trouble

POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Program:
    """One daemon. `version` is whatever else must restart it when it changes."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = CHECKOUT
    user: str | None = None
    version: str = ""
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 30

    @property
    def fingerprint(self) -> str:
        told = json.dumps([self.command, sorted(self.environment.items()), self.version])
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class PidFile:
    """What is known of a started program."""

    path: Path
    pid: int
    started: str
    fingerprint: str
    stop_signal: int
    stop_seconds: float

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started


def start(program: Program, place: Place) -> bool:
    """Start the program unless the same one runs already; True if it was started now."""
    running = known(place, program.name)
    if running is not None and running.alive:
        if running.fingerprint == program.fingerprint:
            return False
        stop(place, program.name)
    with (place.log / f"{program.name}.log").open("ab") as log:
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=program.directory,
            env={**os.environ, **program.environment},
            start_new_session=True,
            user=program.user,
            group=program.user,
            extra_groups=[] if program.user else None,
        )
    _write(place, program, process.pid)
    return True


def wait_until(
    ready: Callable[[], bool], *, place: Place, name: str, timeout_seconds: float
) -> None:
    """Wait for `ready`; a program that died meanwhile, or never answered, is `Trouble`."""
    log = place.log / f"{name}.log"
    give_up = time.monotonic() + timeout_seconds
    while not (ready() and is_running(place, name)):
        # Somebody else's answer on the same port is none: a dead program is trouble first.
        if not is_running(place, name):
            raise Trouble(f"{name} stopped by itself while it was starting", log=log)
        if time.monotonic() > give_up:
            raise Trouble(f"{name} did not answer within {timeout_seconds:.0f} s", log=log)
        time.sleep(POLL_SECONDS)


def is_running(place: Place, name: str) -> bool:
    running = known(place, name)
    return running is not None and running.alive


def stop(place: Place, name: str) -> bool:
    """Stop by pid, patiently, then by SIGKILL; True if it was running."""
    running = known(place, name)
    if running is None:
        return False
    was_alive = running.alive
    _signal(running, running.stop_signal)
    if not _gone(running, running.stop_seconds):
        _signal(running, signal.SIGKILL)
        _gone(running, 10)
    running.path.unlink(missing_ok=True)
    running.path.with_suffix(".json").unlink(missing_ok=True)
    return was_alive


def known(place: Place, name: str) -> PidFile | None:
    """The pid file of a program of this stack, whether it still runs or not."""
    path = place.run / f"{name}.pid"
    if not path.exists():
        return None
    told = json.loads(path.with_suffix(".json").read_text())
    return PidFile(path=path, pid=int(path.read_text()), **told)


def names(place: Place) -> list[str]:
    """Every program with a pid file, in the order in which they were started."""
    files = sorted(place.run.glob("*.pid"), key=lambda path: path.stat().st_mtime_ns)
    return [path.stem for path in files]


def start_time(pid: int) -> str | None:
    """The kernel's start time of a living process; None when it is gone or a zombie."""
    try:
        # The name (field 2) may hold spaces and parentheses; fields are counted after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _write(place: Place, program: Program, pid: int) -> None:
    told = {
        "started": start_time(pid) or "",
        "fingerprint": program.fingerprint,
        "stop_signal": int(program.stop_signal),
        "stop_seconds": program.stop_seconds,
    }
    path = place.run / f"{program.name}.pid"
    path.unlink(missing_ok=True)
    path.with_suffix(".json").write_text(json.dumps(told))
    path.write_text(f"{pid}\n")


def _signal(running: PidFile, number: int) -> None:
    if running.alive:
        os.kill(running.pid, number)


def _gone(running: PidFile, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while running.alive:
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_SECONDS)
    return True
