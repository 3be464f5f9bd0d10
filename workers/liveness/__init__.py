"""The liveness worker: which nodes can be offered.

watch     handlers and the tick: what agents say, and who says nothing
"""

from __future__ import annotations

from controlplane.apply.outbox import SPARE_SWEEP_SECONDS, Outbox
from controlplane.messages import NodeHeartbeat, NodeHello, NodeInventory
from workers.liveness.watch import Watch
from workers.loop import Lane
from workers.process import Tick, Work
from workers.tools import Tools

LOOK_EVERY_SECONDS = 1.0


def work(tools: Tools) -> Work:
    """Everything that a liveness process does."""
    outbox = Outbox(tools.postgres, tools.broker, every_seconds=SPARE_SWEEP_SECONDS)
    watch = Watch(tools, outbox)
    return Work(
        lanes=[_lane(watch)],
        ticks=[
            Tick(name="look", every_seconds=LOOK_EVERY_SECONDS, call=watch.look),
            Tick(name="outbox", every_seconds=0, call=outbox.sweep),
        ],
    )


def lanes(tools: Tools) -> list[Lane]:
    """The lane alone, for the process that reads suspect messages."""
    return list(work(tools).lanes)


def _lane(watch: Watch) -> Lane:
    return Lane(
        queue="liveness",
        handlers={
            NodeHello: watch.hello,
            NodeHeartbeat: watch.heartbeat,
            NodeInventory: watch.inventory,
        },
        prefetch=64,
    )
