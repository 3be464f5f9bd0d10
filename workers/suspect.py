"""Reads what was delivered before and not settled: one message at a time, in a process of its
own, with the handlers of the queue it came from. What kills or hangs its reader does it here.
"""

from __future__ import annotations

from workers.lease import lanes as of_lease
from workers.liveness import lanes as of_liveness
from workers.loop import Lane
from workers.process import Tick
from workers.refill import lanes as of_refill
from workers.tools import Tools


def lanes(tools: Tools) -> list[Lane]:
    """One lane that dispatches by origin."""
    return [suspect_lane([*of_lease(tools), *of_refill(tools), *of_liveness(tools)])]


def ticks(tools: Tools) -> list[Tick]:
    """Nothing is done on time here."""
    return []


def suspect_lane(lanes: list[Lane]) -> Lane:
    """The lane over `suspect`, with everybody's handlers."""
    origins = {lane.queue: lane for lane in lanes}
    return Lane(queue="suspect", prefetch=1, takes_redelivered=True, origins=origins)
