"""Reads what was delivered before and not settled: one message at a time, in a process of its
own, with the handlers of the queue it came from. What kills or hangs its reader does it here.
"""

from __future__ import annotations

from workers import lease, liveness, refill
from workers.loop import Lane
from workers.process import Tick
from workers.tools import Tools


def lanes(tools: Tools) -> list[Lane]:
    """One lane that dispatches by origin."""
    rooms = (lease.lanes(tools), refill.lanes(tools), liveness.lanes(tools))
    return [suspect_lane([lane for room in rooms for lane in room])]


def ticks(tools: Tools) -> list[Tick]:
    """Nothing is done on time here."""
    return []


def suspect_lane(lanes: list[Lane]) -> Lane:
    """The lane over `suspect`, with everybody's handlers."""
    origins = {lane.queue: lane for lane in lanes}
    return Lane(queue="suspect", prefetch=1, takes_redelivered=True, origins=origins)
