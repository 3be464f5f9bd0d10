"""What agents say of activations."""

from __future__ import annotations

from time import perf_counter

import structlog

from controlplane import failpoints
from controlplane.apply.leases import LeaseEffects
from controlplane.clients.postgres import Granted
from controlplane.decide.lease import attempt_over
from controlplane.messages import (
    Envelope,
    RunAccepted,
    RunActivated,
    RunExited,
    RunFailed,
    RunRefused,
)
from controlplane.model.phases import LeasePhase
from workers.lease.batch import Batch
from workers.lease.line import LinesOfPools
from workers.tools import Tools

# An accepted order only has to be known before its 3 s are over.
ACCEPTED_SECONDS = 0.02

log = structlog.get_logger()


class Reports:
    """Handlers of `report.run.*`. A report that comes twice finds what the first one did."""

    def __init__(self, tools: Tools, effects: LeaseEffects, line: LinesOfPools) -> None:
        self._leases = tools.postgres.leases
        self._effects = effects
        self._line = line
        self._accepted: Batch[RunAccepted] = Batch(
            tools.postgres.leases.accepted, seconds=ACCEPTED_SECONDS
        )

    async def accepted(self, envelope: Envelope) -> None:
        """Written down together with its neighbours, and acked after that."""
        report = envelope.message
        assert isinstance(report, RunAccepted)
        failpoints.reach("lease.accepted.received")
        await self._accepted.add(report)

    async def activated(self, envelope: Envelope) -> None:
        """It answers as this lease: the hub may have the URL."""
        report = envelope.message
        assert isinstance(report, RunActivated)
        failpoints.reach("lease.serve.received")
        started = perf_counter()
        granted = await self._leases.serve(report)
        failpoints.reach("lease.serve.committed")
        stages = {**report.stages, "record": (perf_counter() - started) * 1000}
        if granted is None:
            log.info("report.stale", lease=report.lease, notebook=report.notebook)
        else:
            await self._effects.apply(granted, stages=stages)

    async def refused(self, envelope: Envelope) -> None:
        """The agent will not activate it."""
        report = envelope.message
        assert isinstance(report, RunRefused)
        await self._over(report)

    async def failed(self, envelope: Envelope) -> None:
        """The activation went wrong inside the notebook."""
        report = envelope.message
        assert isinstance(report, RunFailed)
        await self._over(report)

    async def exited(self, envelope: Envelope) -> None:
        """The notebook's process ended."""
        report = envelope.message
        assert isinstance(report, RunExited)
        await self._applied(await self._leases.exited(report))

    async def _over(self, report: RunRefused | RunFailed) -> None:
        over = attempt_over(report)
        if over is None:
            return
        log.info(
            "attempt.over",
            lease=report.lease,
            attempt=report.attempt,
            notebook=report.notebook,
            node=report.node,
            reason=over.reason,
            detail=over.detail,
        )
        granted = await self._leases.attempt_failed(
            report.lease,
            report.attempt,
            report.notebook,
            reason=over.reason,
            detail=over.detail,
            terminal=over.terminal,
        )
        await self._applied(granted)

    async def _applied(self, granted: Granted | None) -> None:
        failpoints.reach("lease.attempt.committed")
        if granted is None:
            return
        await self._effects.apply(granted)
        if granted.lease.phase is LeasePhase.WAITING:
            await self._line.match(granted.lease.pool)
