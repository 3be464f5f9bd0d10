"""Named places at which a test may kill, stop or break a process: between two rows of the table
in docs/architecture.md, where a crash must cost nobody anything.

Off, `reach` is one comparison. It is armed by two variables together, so that no site's
environment does it by accident: `GREENROOM_FAILPOINT=name[:kill|hang|raise][@nth]` and
`GREENROOM_FAILPOINTS_ARE_FOR_TESTS=yes`. A point that is reached about many kinds of message is
named with one of them: `message.acked[lease.request]`. docs/failpoints.md says what happens
after a kill at each; tests/crashes does it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from controlplane.errors import BadSettings

VARIABLE = "GREENROOM_FAILPOINT"
SWITCH = "GREENROOM_FAILPOINTS_ARE_FOR_TESTS"
_SPEC = re.compile(r"(?P<where>[a-z_.]+(\[[a-z_.]+\])?)(:(?P<action>[a-z]+))?(@(?P<nth>[1-9]\d*))?")

Action = Literal["kill", "hang", "raise"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """`rows`: the two steps that it lies between; `reached`: who gets there, by kind of message
    where it is told apart by that, else under the empty kind."""

    rows: str
    says: str
    reached: Mapping[str, tuple[str, ...]]

    def cases(self, name: str) -> Iterator[tuple[str, str]]:
        """What can be armed, and in which process."""
        for kind, processes in self.reached.items():
            for process in processes:
                yield (f"{name}[{kind}]" if kind else name), process


def _point(rows: str, processes: str, says: str) -> Point:
    return Point(rows=rows, says=says, reached={"": tuple(processes.split())})


def _around_ack(says: str, **processes: str) -> Point:
    kinds = {kind.replace("_", "."): tuple(who.split()) for kind, who in processes.items()}
    return Point(rows="ack", says=says, reached=kinds)


POINTS: Mapping[str, Point] = {
    # One click.
    "spawner.request.made": _point("0-1", "hub", "the id and the seal are made, nobody knows"),
    "spawner.request.confirmed": _point("1-2", "hub", "the broker has the request"),
    "lease.request.received": _point("1-2", "lease suspect", "decoded, nothing done"),
    "lease.request.popped": _point("2-3", "lease suspect", "a candidate left Redis for nobody"),
    "lease.request.committed": _point("3-4", "lease suspect", "the row is there, nothing is sent"),
    "agent.accept.checked": _point("4-5", "agent", "the order is good, nothing is on disk"),
    "agent.accept.journaled": _point("5-6", "agent", "on disk, neither acked nor reported"),
    "lease.accepted.received": _point("5-6", "lease", "`accepted` was heard, not written"),
    "agent.home.mounted": _point("5-6", "agent", "the home is there, the notebook knows nobody"),
    "agent.handover.given": _point("5-6", "agent", "the notebook took its one activation"),
    "agent.probe.answered": _point("5-6", "agent", "it answers as this lease, nobody was told"),
    "agent.served.journaled": _point("6-7", "agent", "`served` is on disk, perhaps not reported"),
    "lease.serve.received": _point("6-7", "lease", "`activated` was heard, nothing is written"),
    "lease.serve.committed": _point("7-8", "lease", "it serves, the hub was not told"),
    "spawner.serving.heard": _point("7-8", "hub", "the URL is here, start() has not returned"),
    "spawner.state.told": _point("8-", "hub", "start() returned, the hub saves what it told"),
    # Before and after every ack.
    "message.handled": _around_ack(
        "done and published, not acked",
        lease_request="lease suspect",
        lease_release="lease",
        report_run_activated="lease",
        notebook_activate="agent",
        report_warmup_ready="refill",
        report_node_hello="liveness",
    ),
    "message.acked": _around_ack(
        "acked: the broker gives it to nobody any more",
        lease_request="lease",
        report_run_activated="lease",
        notebook_create="agent",
        notebook_activate="agent",
    ),
    "message.suspected": _point("ack", "lease", "moved to `suspect`, not yet acked here"),
    # What else moves a lease.
    "spawner.release.made": _point("release", "hub", "stop() forgot it, nobody was told"),
    "spawner.release.confirmed": _point("release", "hub", "the broker has the release"),
    "lease.release.committed": _point("release", "lease", "ended and retiring, nothing is sent"),
    "lease.match.committed": _point("line", "lease", "the head of the line has one, nobody knows"),
    "lease.attempt.committed": _point("attempt", "lease", "the next attempt, nothing is sent"),
    "lease.expire.committed": _point("deadline", "lease", "ended at its deadline, nobody was told"),
    "lease.due.marked": _point("sweep", "lease", "the order counts as repeated, and is not"),
    "lease.hub.greeted": _point("hello", "lease", "the hub is known, its snapshot not sent"),
    # A row, its event, its message.
    "outbox.taken": _point("event", "lease refill liveness", "taken, not published"),
    "outbox.published": _point("event", "lease refill liveness", "published, still there"),
    # A notebook before and after its lease.
    "refill.snapshot.taken": _point("create", "refill", "looked, nothing is decided"),
    "refill.create.committed": _point("create", "refill", "`creating` rows, no order was given"),
    "refill.create.ordered": _point("create", "refill", "the orders are given"),
    "refill.retire.committed": _point("retire", "refill", "`retiring` rows, no order was given"),
    "agent.create.journaled": _point("create", "agent", "on disk, nothing is made"),
    "agent.container.created": _point("create", "agent", "the engine made it, it does not run"),
    "agent.container.started": _point("create", "agent", "it runs, the journal does not know"),
    "agent.warm.journaled": _point("create", "agent", "warm on disk, not reported"),
    "agent.removal.journaled": _point("retire", "agent", "to be removed, on disk; all is there"),
    "agent.container.removed": _point("retire", "agent", "its container is gone, its slot is not"),
    "agent.slot.removed": _point("retire", "agent", "only its journal is left"),
    "agent.journal.forgotten": _point("retire", "agent", "nothing is left, nobody was told"),
    # A node.
    "agent.epoch.made": _point("start", "agent", "the new epoch is on disk, nothing is adopted"),
    "agent.adopted": _point("start", "agent", "all is adopted, nobody was greeted"),
    "liveness.hello.committed": _point("hello", "liveness", "the epoch is known, nothing is sent"),
    "liveness.move.committed": _point("node", "liveness", "the node moved, nobody was told"),
}


class Reached(Exception):
    """An armed failpoint of the kind `raise`."""


@dataclass(kw_only=True)
class _Armed:
    where: str
    action: str
    left: int


_armed: _Armed | None = None


def cases() -> list[tuple[str, str]]:
    """Everything that can be armed, and each process in which it can."""
    return [case for name, point in POINTS.items() for case in point.cases(name)]


def reach(name: str, about: str = "") -> None:
    """The process is here; `about`: the type of the message that it is about. Returns at once
    unless exactly this is armed."""
    if _armed is not None:
        _reach(f"{name}[{about.rpartition('.v')[0]}]" if about else name, _armed)


def arm(environment: Mapping[str, str]) -> None:
    """Arm what the environment names, at a process' start. `BadSettings` if it must not be."""
    global _armed
    spec = environment.get(VARIABLE)
    _armed = None if spec is None else _read(spec, allowed=environment.get(SWITCH) == "yes")
    if _armed is not None:
        _shout(f"failpoint.armed: this process will {_armed.action} itself at {spec}")


def _read(spec: str, *, allowed: bool) -> _Armed:
    if not allowed:
        raise BadSettings(
            f"{VARIABLE} = {spec!r} makes this process kill itself and is for tests only: unset it"
        )
    found = _SPEC.fullmatch(spec)
    action = (found["action"] or "kill") if found else ""
    if found is None or action not in ("kill", "hang", "raise"):
        raise BadSettings(f"{VARIABLE} = {spec!r}: write name[:kill|hang|raise][@nth]")
    if found["where"] not in {where for where, _ in cases()}:
        raise BadSettings(f"{VARIABLE} = {spec!r}: docs/failpoints.md has no such name")
    return _Armed(where=found["where"], action=action, left=int(found["nth"] or 1))


def _reach(where: str, armed: _Armed) -> None:
    if where != armed.where:
        return
    armed.left -= 1
    if armed.left:
        return
    _shout(f"failpoint.reached: {armed.action} at {where}")
    match armed.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
        case _:
            raise Reached(where)


def _shout(line: str) -> None:
    # Not through the log: it may be told to be quiet, and this must be seen.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
