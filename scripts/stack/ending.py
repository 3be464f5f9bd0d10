"""The screen with which `up` ends: the start that it just timed, and what to do now."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

BAR_CELLS = 40
EIGHTHS = " ▏▎▍▌▋▊▉█"

# What the proof measured as marks since the click, shown as the time between two of them.
MARKS = (
    ("ready_ms", "click to server ready"),
    ("kernel_ms", "a kernel starts"),
    ("connected_ms", "it boots, its websocket opens"),
    ("result_ms", "1+1 comes back"),
)

# The stages that workers and agent tell of, in the order in which they happen; what people
# see as one stage may be several of theirs.
INSIDE = (
    ("Redis: take this one", ("pop",)),
    ("Postgres decides", ("decide",)),
    ("activation ordered", ("order",)),
    ("in line for a notebook", ("line",)),
    ("accepted by the node", ("accept",)),
    ("waits its turn on the node", ("turn", "wait")),
    ("home found and mounted", ("home", "mount")),
    ("told who it is for", ("handover",)),
    (
        "Jupyter starts as this user",
        ("activation", "serve_prepare", "serve_initialise", "serve_loop"),
    ),
    ("proves that it answers", ("probe",)),
    ("recorded as serving", ("serve",)),
    ("URL told to the hub", ("answer",)),
)


def stages_of(proof: Mapping[str, Any]) -> list[tuple[str, float]]:
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


def inside(lease_log: str, *, user: str) -> list[tuple[str, float]]:
    """The stages of this user's newest start, from the lease worker's one line about it."""
    for line in reversed(lease_log.splitlines()):
        if '"lease.served"' in line and (told := _parsed(line)).get("user") == user:
            return [
                (what, sum(float(told[name]) for name in names if name in told))
                for what, names in INSIDE
                if any(name in told for name in names)
            ]
    return []


def screen(*, url: str, docker: str, told: Mapping[str, Any]) -> str:
    """The whole last screen, from what `up` recorded of its click; `docker` reaches its engine."""
    parts = [
        "",
        f" Greenroom is up. One click, 1+1 = {told['result']} after {told['result_ms']:.0f} ms:",
        "",
        *bars(stages_of(told)),
    ]
    if told.get("inside"):
        parts += ["", " Inside click to server ready:", "", *bars(_with_the_rest(told))]
    return "\n".join([*parts, "", *_next(url, docker)])


def _with_the_rest(told: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What Greenroom did, and as the last bar what is left of click to ready: the hub's part."""
    known = [(what, float(ms)) for what, ms in told["inside"]]
    rest = told["ready_ms"] - sum(ms for _, ms in known)
    return [*known, ("the hub and its proxy", max(0.0, rest))]


def _parsed(line: str) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except ValueError:
        return {}


def _next(url: str, docker: str) -> list[str]:
    port = url.rpartition(":")[2]
    return [
        f" Open   {url}   and log in with any name.",
        " From another machine:",
        f"        ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{socket.gethostname()}",
        "",
        " Try",
        "   1. log in as two people in two browsers: each has a home of their own",
        "   2. kill -9 $(cat .greenroom/run/lease.pid), press Start anyway, then scripts/up",
        f"   3. {docker} ps --filter label=greenroom.installation   the warm ones, waiting",
        "",
        " Stop   scripts/down            keeps homes and data",
        "        scripts/down --wipe     removes them",
    ]


def _bar(cells: float) -> str:
    whole = int(cells)
    part = EIGHTHS[int((cells - whole) * 8)].strip()
    return "█" * whole + part or EIGHTHS[1]
