"""What time alone makes due, and what other workers' events make due at once."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from controlplane import failpoints, telemetry
from controlplane.apply import index
from controlplane.apply.leases import LeaseEffects, word
from controlplane.apply.notebooks import create_order, retire_order
from controlplane.apply.sending import Sending, send
from controlplane.clients.postgres import Due, Granted
from controlplane.messages import Envelope, Moved
from controlplane.model.phases import LeasePhase, NodeState, NotebookPhase
from workers.lease.line import LinesOfPools
from workers.tools import Tools

# An agent that lives has written an order down long before this.
ACCEPT_SECONDS = 3.0
OPEN = (LeasePhase.WAITING.value, LeasePhase.CLAIMED.value, LeasePhase.SERVING.value)
AWAY = frozenset({NodeState.SUSPECT.value, NodeState.LOST.value})

log = structlog.get_logger()


class Sweeps:
    """Safe to run in several copies: each sweep's function takes rows that nobody else holds."""

    def __init__(self, tools: Tools, effects: LeaseEffects, line: LinesOfPools) -> None:
        self._tools = tools
        self._leases = tools.postgres.leases
        self._effects = effects
        self._line = line
        self._counted: set[str] = set()

    async def second(self) -> None:
        """Deadlines, orders that nobody accepted, lines, orders that are due again."""
        pulse = await self._leases.pulse(ACCEPT_SECONDS)
        if pulse.expire:
            expired = await self._leases.expire()
            failpoints.reach("lease.expire.committed")
            await self._apply(expired)
        if pulse.unaccepted:
            await self._move_on()
        await self._line.second(pulse.waiting)
        if pulse.due:
            for order in await self._leases.due():
                await self._again(order)

    async def audit(self) -> None:
        """The index holds what is ready, whatever became of it."""
        await index.audit(self._tools.postgres, self._tools.redis)
        self._count(await self._leases.counts())

    def _count(self, counted: dict[str, dict[str, int]]) -> None:
        """Pools in which nobody is any more count zero."""
        self._counted |= counted.keys()
        for pool in self._counted:
            for phase in OPEN:
                value = counted.get(pool, {}).get(phase, 0)
                telemetry.LEASES.labels(pool=pool, phase=phase).set(value)

    async def maintain(self) -> None:
        """Partitions ahead, and what is older than its retention goes."""
        await self._tools.postgres.maintain(self._tools.settings.retention_days)

    async def moved(self, envelope: Envelope) -> None:
        """A notebook became ready: for the line, or the index. A node went: attempts move on."""
        event = envelope.message
        assert isinstance(event, Moved)
        match (event.entity, event.phase):
            case ("notebook", NotebookPhase.READY):
                await self._tools.redis.add(event.pool, event.key)
                await self._line.match(event.pool)
            case ("node", state) if state in AWAY:
                await self._move_on()
            case _:
                return

    async def _move_on(self) -> None:
        """Attempts whose order nobody accepted in time, or whose node went."""
        moved = await self._leases.unaccepted(ACCEPT_SECONDS)
        for lost in (notebook for granted in moved for notebook in granted.retired):
            log.info(
                "attempt.over",
                lease=lost.lease,
                notebook=lost.notebook,
                node=lost.node,
                reason=lost.reason,
            )
        await self._apply(moved)
        for pool in {g.lease.pool for g in moved if g.lease.phase is LeasePhase.WAITING}:
            await self._line.match(pool)

    async def _apply(self, moved: Iterable[Granted]) -> None:
        for granted in moved:
            await self._effects.apply(granted)

    async def _again(self, order: Granted | Due) -> None:
        """Nobody answered this row's order: give it again."""
        failpoints.reach("lease.due.marked")
        if isinstance(order, Granted):
            telemetry.REISSUED.labels(command="activate").inc()
            log.info("order.again", order="activate", lease=order.lease.lease)
            return await self._effects.again(order)
        telemetry.REISSUED.labels(command=order.order).inc()
        log.debug("order.again", order=order.order, notebook=order.notebook.notebook)
        await send(self._tools.broker, [_command(order)])


def _command(due: Due) -> Sending:
    notebook = due.notebook
    if due.order == "retire" or due.spec is None:
        return retire_order(notebook.notebook, notebook.node, reason=word(notebook.reason))
    return create_order(notebook, spec=due.spec, spec_hash=due.spec_hash, epoch=due.epoch)
