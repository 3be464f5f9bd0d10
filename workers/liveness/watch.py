"""What agents say of themselves, and the look once a second at who says nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import structlog

from controlplane import failpoints, telemetry
from controlplane.apply import surroundings
from controlplane.apply.outbox import Outbox
from controlplane.decide.liveness import Move, plan, recovery
from controlplane.messages import Envelope, NodeHeartbeat, NodeHello, NodeInventory
from controlplane.model import Node, NodeState
from workers.tools import Tools

# A watcher that missed looks (stopped, Postgres away) has also missed writing heartbeats.
LOOKS_WITHOUT_GAP = timedelta(seconds=3)

log = structlog.get_logger()


class Watch:
    """One copy's view: any number of them write the same rows by compare-and-set."""

    def __init__(self, tools: Tools, outbox: Outbox) -> None:
        self._postgres = tools.postgres
        self._broker = tools.broker
        self._settings = tools.settings
        self._outbox = outbox
        self._since: datetime | None = None
        self._looked_at: datetime | None = None
        self._generation = -1
        self._alarm = ""

    async def hello(self, envelope: Envelope) -> None:
        """An agent started or connected again: it hears what is around it.

        The others hear of it where it is new: what it publishes is closed to their notebooks.
        """
        report = cast(NodeHello, envelope.message)
        known = {node.address for node in await self._postgres.nodes.list()}
        node = await self._postgres.nodes.hello(report)
        failpoints.reach("liveness.hello.committed")
        self._outbox.wake()
        log.info("node.hello", node=node.node, epoch=report.epoch, state=node.state.value)
        told = report.node if report.address in known else None
        await surroundings.tell(self._broker, self._postgres, self._settings, node=told)

    async def heartbeat(self, envelope: Envelope) -> None:
        """An agent lives. Without its engine a node is of no more use than a silent one."""
        report = cast(NodeHeartbeat, envelope.message)
        if report.engine == "failing":
            log.warning("node.engine_failing", node=report.node)
            return
        await self._postgres.nodes.heartbeat(report)

    async def inventory(self, envelope: Envelope) -> None:
        """A sign of life as well; a suspect node whose engine answers in full is ready again."""
        report = cast(NodeInventory, envelope.message)
        if not report.complete:
            return
        await self._postgres.nodes.seen(report)
        for node in await self._postgres.nodes.list():
            move = recovery(node, epoch=report.epoch) if node.node == report.node else None
            if move is not None:
                await self._move(move)

    async def look(self) -> None:
        """Who is silent. Raises `Unavailable`."""
        # The clock first: a heartbeat that comes between is then in the nodes' favour.
        now = await self._postgres.now()
        nodes = await self._postgres.nodes.list()
        _show(nodes)
        since = self._watching_since(now)
        if since is None:
            return
        made = plan(nodes, now, watching_since=since)
        self._raise_alarm(made.alarm)
        for move in made.moves:
            await self._move(move)

    def _watching_since(self, now: datetime) -> datetime | None:
        """Since when this copy hears everything; None while it hears nothing."""
        gap = self._looked_at is None or now - self._looked_at > LOOKS_WITHOUT_GAP
        self._looked_at = now
        if not self._broker.connected.is_set():
            self._since = None
        elif self._since is None or gap or self._generation != self._broker.generation:
            self._since, self._generation = now, self._broker.generation
        return self._since

    async def _move(self, move: Move) -> None:
        moved = await self._postgres.nodes.move(move.node, move.state, move.reason, move.version)
        failpoints.reach("liveness.move.committed")
        if moved is not None:
            self._outbox.wake()
            log.warning("node.moved", node=move.node, state=move.state.value, reason=move.reason)

    def _raise_alarm(self, alarm: str) -> None:
        telemetry.BLIND.set(1 if alarm else 0)
        if alarm and not self._alarm:
            log.error("liveness.blind", alarm=alarm)
        elif self._alarm and not alarm:
            log.info("liveness.sees_again")
        self._alarm = alarm


def _show(nodes: list[Node]) -> None:
    for state in NodeState:
        telemetry.NODES.labels(state.value).set(sum(n.state is state for n in nodes))
