"""The lease worker: it owns every move of a lease, and every notebook after `ready`.

requests       what hubs ask: a notebook, the end of a lease, where it stands
hubs           a hub process arrives, or lists what it knows
pools          what a form shows: what is warm, how long it takes
reports        what agents say of activations
inventories    what agents hold
line           who waits, and what they are told
sweeps         what time alone makes due

Any number of copies run at once: rows and their locks keep them right, not this process.
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.apply.leases import LeaseEffects
from controlplane.apply.outbox import LEISURELY_SECONDS, Outbox
from controlplane.apply.stages import Stages
from controlplane.messages import (
    HubHello,
    HubInventory,
    LeaseRelease,
    LeaseRequest,
    LineQuestion,
    Message,
    Moved,
    NodeInventory,
    PoolsQuestion,
    RunAccepted,
    RunActivated,
    RunExited,
    RunFailed,
    RunRefused,
)
from workers.lease.hubs import Hubs
from workers.lease.inventories import Inventories
from workers.lease.line import LinesOfPools
from workers.lease.pools import PoolsOfHubs
from workers.lease.reports import Reports
from workers.lease.requests import Requests
from workers.lease.sweeps import Sweeps
from workers.loop import Lane
from workers.process import Tick, Work
from workers.tools import Tools

__all__ = ["lanes", "work"]


def work(tools: Tools) -> Work:
    """Everything that one copy does."""
    # What a claim makes others do is never in a hurry: refill rests while people start.
    outbox = Outbox(tools.postgres, tools.broker, gather_seconds=LEISURELY_SECONDS)
    effects = LeaseEffects(tools.broker, outbox, Stages(tools.redis))
    line = LinesOfPools(tools, effects)
    sweeps = Sweeps(tools, effects, line)
    return Work(
        lanes=[_requests(tools, effects, line), _reports(tools, effects, line, sweeps)],
        ticks=[
            # It waits for a commit or half a second by itself.
            Tick(name="outbox", every_seconds=0, call=outbox.sweep),
            Tick(name="second", every_seconds=1, call=sweeps.second),
            Tick(name="audit", every_seconds=5, call=sweeps.audit),
            Tick(name="maintain", every_seconds=3600, call=sweeps.maintain),
        ],
    )


def lanes(tools: Tools) -> list[Lane]:
    """The lanes alone, for the process that handles suspect messages.

    Without inventories of hubs: one that waited there is of a time before the leases that it
    leaves out, and the next one is never far.
    """
    return [_but_for(HubInventory, lane) for lane in work(tools).lanes]


def _but_for(kind: type[Message], lane: Lane) -> Lane:
    handlers = {each: handler for each, handler in lane.handlers.items() if each is not kind}
    return replace(lane, handlers=handlers)


def _requests(tools: Tools, effects: LeaseEffects, line: LinesOfPools) -> Lane:
    requests = Requests(tools, effects, line)
    hubs = Hubs(tools, effects, line)
    pools = PoolsOfHubs(tools)
    return Lane(
        queue="lease.requests",
        handlers={
            LeaseRequest: requests.request,
            LeaseRelease: requests.release,
            LineQuestion: requests.question,
            PoolsQuestion: pools.question,
            HubHello: hubs.hello,
            HubInventory: hubs.inventory,
        },
    )


def _reports(tools: Tools, effects: LeaseEffects, line: LinesOfPools, sweeps: Sweeps) -> Lane:
    reports = Reports(tools, effects, line)
    inventories = Inventories(tools, effects)
    return Lane(
        queue="lease.reports",
        handlers={
            RunAccepted: reports.accepted,
            RunActivated: reports.activated,
            RunRefused: reports.refused,
            RunFailed: reports.failed,
            RunExited: reports.exited,
            NodeInventory: inventories.part,
            Moved: sweeps.moved,
        },
    )
