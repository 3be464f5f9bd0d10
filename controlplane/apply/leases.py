"""What a lease's row implies: an order to an agent, an answer to a hub process.

`implied` is a pure function of what a move returned, so publishing it again (after a
redelivery, a question or a sweep) does no harm: agents repeat their answer, hubs ignore
what they know. A decision gets its log line and its metric once, where its move is fresh.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from time import perf_counter

import structlog

from controlplane import telemetry
from controlplane.apply.notebooks import retire_order
from controlplane.apply.outbox import Outbox
from controlplane.apply.patience import Patience
from controlplane.apply.sending import Sending, send
from controlplane.apply.stages import Stages
from controlplane.clients import rabbitmq as routes
from controlplane.clients.postgres import Granted
from controlplane.clients.rabbitmq import Broker
from controlplane.messages import (
    ActivateNotebook,
    LeaseClaimed,
    LeaseEnded,
    LeaseRequest,
    LeaseServing,
)
from controlplane.model.phases import EndReason, LeasePhase
from controlplane.model.rows import Lease, Notebook

# What lies between a request received and its activation ordered.
ORDERED = ("pop", "decide", "order")
MOST_STAGES = 32
# Stages with a metric of their own: the worker's, and those that agents name in reports.
OF_AGENTS = ("accept", "home", "turn", "mount", "handover", "serve", "probe")
STAGES = frozenset({*ORDERED, "line", "record", "answer", *OF_AGENTS})

log = structlog.get_logger()


def orders(granted: Granted) -> list[Sending]:
    """Commands that follow: activate what was claimed, retire what was let go."""
    lease, notebook = granted.lease, granted.notebook
    sendings = [retire_order(n.notebook, n.node, reason=word(n.reason)) for n in granted.retired]
    if lease.phase is not LeasePhase.CLAIMED or notebook is None or not lease.sealed:
        return sendings
    budget_ms = _milliseconds(lease.deadline, granted.now)
    if budget_ms > 0:
        sendings.append(_activate(granted, lease.sealed, notebook, budget_ms))
    return sendings


def answers(
    granted: Granted, *, to: str = "", stages: Mapping[str, float] | None = None
) -> list[Sending]:
    """What the hubs hear. `to`: the hub process that asked, instead of the lease's own."""
    return _of_others(granted) + _own(granted, to=to, stages=stages or {})


def _of_others(granted: Granted) -> list[Sending]:
    return [_ended(lease, lease.hub_process) for lease in granted.ended]


def _own(granted: Granted, *, to: str = "", stages: Mapping[str, float]) -> list[Sending]:
    lease, hub_process = granted.lease, to or granted.lease.hub_process
    if lease.phase is LeasePhase.ENDED:
        return [_ended(lease, hub_process)]
    body = _answer(granted, stages)
    if body is None:
        return []
    return [Sending(body=body, route=routes.hub(hub_process), traceparent=lease.traceparent)]


def word(reason: str) -> str:
    """The first word of a row's reason, as a command may carry it."""
    first = re.split(r"[\s:]", reason.lower(), maxsplit=1)[0]
    return re.sub(r"[^a-z0-9_.-]", "", first)[:100]


def fresh(granted: Granted) -> bool:
    """Did this call move the lease, or only read what an earlier one did?"""
    return granted.lease.phase_at == granted.now


class LeaseEffects:
    """Makes side effects of what Postgres decided about leases."""

    def __init__(self, broker: Broker, outbox: Outbox, stages: Stages) -> None:
        self._broker = broker
        self._outbox = outbox
        self._stages = stages
        self._patience = Patience(broker)

    async def apply(self, granted: Granted, *, stages: Mapping[str, float] | None = None) -> None:
        """Publish everything that this move implies, then tell it once.

        `stages`: milliseconds of what this process did for it before. Raises `Unavailable`.
        """
        self._tell(granted)
        match granted.lease.phase:
            case LeasePhase.CLAIMED:
                await self._claimed(granted, dict(stages or {}))
                self._outbox.wake()
            case LeasePhase.SERVING:
                await self._serving(granted, dict(stages or {}))
            case LeasePhase.WAITING:
                await send(self._broker, orders(granted) + answers(granted))
                self._outbox.wake()
            case LeasePhase.ENDED:
                self._patience.forget(granted.lease.lease)
                await send(self._broker, orders(granted) + answers(granted))

    async def again(self, granted: Granted, *, to: str = "") -> None:
        """Publish the commands and answers of a row as it stands; nothing was decided."""
        await send(self._broker, orders(granted) + answers(granted, to=to))

    async def answer(self, granted: Granted, *, to: str) -> None:
        """Tell one hub process how its lease stands."""
        await send(self._broker, answers(granted, to=to))

    async def refuse(self, ask: LeaseRequest, why: str) -> None:
        """Tell who asked that it will not be, without a row."""
        body = LeaseEnded(lease=ask.lease, reason=EndReason.REFUSED, detail=why)
        await send(self._broker, [Sending(body=body, route=routes.hub(ask.hub_process))])

    async def _claimed(self, granted: Granted, stages: dict[str, float]) -> None:
        started = perf_counter()
        first, news = fresh(granted), _own(granted, stages={})
        # Whoever asks again has heard nothing so far.
        now = [] if first else news
        try:
            await send(self._broker, orders(granted) + _of_others(granted) + now)
            if first:
                self._patience.hold(granted.lease.lease, news)
        finally:
            # It was decided, also when the broker is away and the sweep orders it later.
            if first:
                self._ordered(granted, stages | {"order": (perf_counter() - started) * 1000})

    def _ordered(self, granted: Granted, stages: dict[str, float]) -> None:
        lease = granted.lease
        waited_ms = _milliseconds(lease.phase_at, lease.created_at)
        if waited_ms > 0:
            stages["line"] = waited_ms
        else:
            ordered_ms = sum(stages.get(name, 0) for name in ORDERED)
            telemetry.LEASE_ORDER_SECONDS.observe(ordered_ms / 1000)
        self._stages.note(lease.lease, stages)
        log.info("lease.ordered", **_who(lease), stages=_rounded(stages))

    async def _serving(self, granted: Granted, stages: dict[str, float]) -> None:
        lease = granted.lease
        self._patience.forget(lease.lease)
        stages = {**await self._stages.recall(lease.lease), **stages}
        stages["total"] = _milliseconds(lease.phase_at, lease.created_at)
        started = perf_counter()
        try:
            await send(self._broker, orders(granted) + answers(granted, stages=stages))
        finally:
            if fresh(granted):
                _served(lease, stages | {"answer": (perf_counter() - started) * 1000})

    def _tell(self, granted: Granted) -> None:
        for lease in (*granted.ended, granted.lease):
            if lease.phase is LeasePhase.ENDED and lease.phase_at == granted.now:
                telemetry.LEASES_ENDED.labels(reason=lease.reason).inc()
                log.info("lease.ended", reason=lease.reason, detail=lease.detail, **_who(lease))
        if granted.lease.phase is LeasePhase.WAITING and fresh(granted):
            log.info("lease.waiting", detail=granted.lease.detail, **_who(granted.lease))


def _answer(granted: Granted, stages: Mapping[str, float]) -> LeaseClaimed | LeaseServing | None:
    lease, notebook = granted.lease, granted.notebook
    if notebook is None:
        return None
    if lease.phase is LeasePhase.CLAIMED:
        return LeaseClaimed(
            lease=lease.lease,
            attempt=lease.attempt,
            notebook=notebook.notebook,
            node=notebook.node,
        )
    if lease.phase is LeasePhase.SERVING and lease.url:
        return LeaseServing(
            lease=lease.lease,
            notebook=notebook.notebook,
            node=notebook.node,
            url=lease.url,
            cold=lease.cold,
            stages=_rounded(stages),
            home=lease.home,
        )
    return None


def _activate(granted: Granted, sealed: str, notebook: Notebook, budget_ms: int) -> Sending:
    lease = granted.lease
    command = ActivateNotebook(
        notebook=notebook.notebook,
        lease=lease.lease,
        attempt=lease.attempt,
        hub=lease.hub,
        user=lease.user,
        server=lease.server,
        prefix=lease.prefix,
        epoch=granted.epoch or 0,
        budget_ms=budget_ms,
        sealed=sealed,
    )
    return Sending(
        body=command,
        route=routes.command(notebook.node),
        expires_ms=budget_ms,
        traceparent=lease.traceparent,
    )


def _ended(lease: Lease, hub_process: str) -> Sending:
    body = LeaseEnded(lease=lease.lease, reason=lease.reason or "", detail=lease.detail)
    return Sending(body=body, route=routes.hub(hub_process), traceparent=lease.traceparent)


def _served(lease: Lease, stages: Mapping[str, float]) -> None:
    start = _start(lease, stages)
    telemetry.LEASE_START_SECONDS.labels(start=start).observe(stages["total"] / 1000)
    for stage in STAGES & stages.keys():
        telemetry.LEASE_STAGE_SECONDS.labels(stage=stage).observe(stages[stage] / 1000)
    about = _who(lease) | ({"home": lease.home} if lease.home else {})
    log.info("lease.served", start=start, **about, stages=_rounded(stages))


def _start(lease: Lease, stages: Mapping[str, float]) -> str:
    if lease.cold:
        return "cold"
    return "waited" if stages.get("line") else "warm"


def _who(lease: Lease) -> dict[str, object]:
    return {
        "lease": lease.lease,
        "hub": lease.hub,
        "user": lease.user,
        "server": lease.server,
        "pool": lease.pool,
        "attempt": lease.attempt,
        "notebook": lease.notebook,
        "node": lease.node,
    }


def _rounded(stages: Mapping[str, float]) -> dict[str, float]:
    """The last ones are the nearest: what an agent says too much of falls out first."""
    return {name: round(stages[name], 2) for name in list(stages)[-MOST_STAGES:]}


def _milliseconds(later: datetime, earlier: datetime) -> int:
    return int((later - earlier).total_seconds() * 1000)
