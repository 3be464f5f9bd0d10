"""The screen with which `up` ends: the start that it just timed, and what to do now."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence

BAR_CELLS = 40
EIGHTHS = " ▏▎▍▌▋▊▉█"

# What the proof measured as marks since the click, shown as the time between two of them.
MARKS = (
    ("ready_ms", "click to server ready"),
    ("kernel_ms", "a kernel starts"),
    ("connected_ms", "its websocket opens"),
    ("result_ms", "1+1 comes back"),
)


def stages_of(proof: Mapping[str, float]) -> list[tuple[str, float]]:
    """The proof's marks as consecutive stages: (what, milliseconds)."""
    stages, before = [], 0.0
    for key, what in MARKS:
        stages.append((what, proof[key] - before))
        before = proof[key]
    return stages


def bars(stages: Sequence[tuple[str, float]]) -> list[str]:
    """One line per stage, each bar beginning where the one before it ended."""
    whole = sum(ms for _, ms in stages) or 1.0
    lines, before = [], 0.0
    for what, ms in stages:
        offset = int(before / whole * BAR_CELLS)
        bar = " " * offset + _bar(ms / whole * BAR_CELLS)
        lines.append(f"   {what:<30} {ms:8.1f} ms  {bar}".rstrip())
        before += ms
    return lines


def screen(
    *, url: str, proof: Mapping[str, float], inside: Sequence[tuple[str, float]], result: str
) -> str:
    """The whole last screen; `inside` are the stages between click and ready, if known."""
    parts = [
        "",
        f" Greenroom is up. One click, 1+1 = {result}, {proof['result_ms']:.0f} ms:",
        "",
        *bars(stages_of(proof)),
    ]
    if inside:
        parts += ["", " Inside click to ready:", "", *bars(inside)]
    return "\n".join([*parts, "", *_next(url)])


def _next(url: str) -> list[str]:
    port = url.rpartition(":")[2]
    return [
        f" Open   {url}   and log in with any name.",
        " From another machine:",
        f"        ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{socket.gethostname()}",
        "",
        " Try",
        "   1. log in as two people in two browsers: each has a home of their own",
        "   2. kill -9 $(cat .greenroom/run/lease.pid), press Start anyway, then scripts/up",
        "   3. docker ps --filter label=greenroom.installation   the warm ones, waiting",
        "",
        " Stop   scripts/down            keeps homes and data",
        "        scripts/down --wipe     removes them",
    ]


def _bar(cells: float) -> str:
    whole = int(cells)
    part = EIGHTHS[int((cells - whole) * 8)].strip()
    return "█" * whole + part or EIGHTHS[1]
