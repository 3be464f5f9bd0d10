"""Run one command to its end, its output in a log; a failure names the command and the log."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.stack.places import CHECKOUT
from scripts.stack.screen import Trouble


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
    directory: Path = CHECKOUT,
    ok: tuple[int, ...] = (0,),
) -> int:
    """Append the command and its output to `log`; raise `Trouble` unless it ends with `ok`."""
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as out:
        out.write(f"\n$ {shlex.join(words)}\n")
        out.flush()
        code = _wait(
            subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(environment or {})},
            ),
            timeout_seconds=timeout_seconds,
        )
    if code is None:
        raise Trouble(f"{words[0]} did not end within {timeout_seconds:.0f} s", log=log)
    if code not in ok:
        raise Trouble(f"`{shlex.join(words)}` ended with code {code}", log=log)
    return code


def read(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float = 30,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """The command's standard output, or None when it is missing or fails."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _wait(process: subprocess.Popen[bytes], *, timeout_seconds: float) -> int | None:
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None
    except BaseException:
        # An interrupted `up` leaves no half-run installer behind.
        process.terminate()
        process.wait()
        raise
