"""The refill worker: keeps every pool at its target.

reports   handlers: what agents and rows say
planner   which pool is looked at when, and one look
numbers   what it shows of itself
"""

from __future__ import annotations

from controlplane.apply.notebooks import NotebookEffects
from controlplane.apply.outbox import SPARE_SWEEP_SECONDS, Outbox
from controlplane.messages import (
    Moved,
    NodeInventory,
    NotebookGone,
    WarmupCreated,
    WarmupFailed,
    WarmupReady,
)
from workers.loop import Lane
from workers.process import Task, Tick, Work
from workers.refill.planner import Planner
from workers.refill.reports import Reports
from workers.tools import Tools

# Heals lost hints, and sees that time has passed.
LOOK_EVERY_SECONDS = 5.0


def work(tools: Tools) -> Work:
    """Everything that a refill process does."""
    outbox = Outbox(tools.postgres, tools.broker, every_seconds=SPARE_SWEEP_SECONDS)
    effects = NotebookEffects(tools.postgres, tools.broker, outbox)
    planner = Planner(tools.postgres, effects)
    reports = Reports(tools.postgres, effects, outbox, planner)
    return Work(
        lanes=[_lane(reports)],
        ticks=[
            Tick(name="look", every_seconds=LOOK_EVERY_SECONDS, call=planner.look_at_all),
            Tick(name="outbox", every_seconds=0, call=outbox.sweep),
        ],
        tasks=[Task(name="planner", run=planner.run)],
    )


def lanes(tools: Tools) -> list[Lane]:
    """The lane alone, for the process that reads suspect messages: hints are left to ticks."""
    return list(work(tools).lanes)


def _lane(reports: Reports) -> Lane:
    return Lane(
        queue="refill",
        handlers={
            WarmupCreated: reports.created,
            WarmupReady: reports.ready,
            WarmupFailed: reports.failed,
            NotebookGone: reports.gone,
            NodeInventory: reports.inventory,
            Moved: reports.moved,
        },
    )
