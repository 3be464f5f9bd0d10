"""What hubs ask of leases: a notebook, the end of a lease, where it stands."""

from __future__ import annotations

from time import perf_counter

from controlplane import failpoints
from controlplane.apply.leases import LeaseEffects
from controlplane.decide.lease import prefix_fits
from controlplane.errors import BadMessage, Refused
from controlplane.messages import Envelope, LeaseRelease, LeaseRequest, LineQuestion
from controlplane.model.phases import EndReason, LeasePhase
from workers.lease.line import LinesOfPools
from workers.tools import Tools

# Reasons that a hub may give; the others are decided here.
OF_HUBS = frozenset({EndReason.STOPPED.value, EndReason.CANCELLED.value})


class Requests:
    """Handlers of the requests lane. Each may be called again with the same message."""

    def __init__(self, tools: Tools, effects: LeaseEffects, line: LinesOfPools) -> None:
        self._leases = tools.postgres.leases
        self._index = tools.redis
        self._effects = effects
        self._line = line

    async def request(self, envelope: Envelope) -> None:
        """Redis may say "take this one"; Postgres decides; the row says what is published."""
        ask = envelope.message
        assert isinstance(ask, LeaseRequest)
        failpoints.reach("lease.request.received")
        if not prefix_fits(ask.user, ask.server, ask.prefix):
            await self._refuse(ask, "the prefix is not that of this user's server")
        received = perf_counter()
        candidate = await self._index.pop(ask.pool)
        popped = perf_counter()
        failpoints.reach("lease.request.popped")
        granted = await self._leases.request(ask, candidate, traceparent=envelope.traceparent)
        decided = perf_counter()
        failpoints.reach("lease.request.committed")
        await self._effects.apply(
            granted,
            stages={"pop": (popped - received) * 1000, "decide": (decided - popped) * 1000},
        )
        if granted.lease.phase is LeasePhase.WAITING:
            self._line.ask(ask.pool)
        await self._line.taken(granted, candidate)

    async def _refuse(self, ask: LeaseRequest, why: str) -> None:
        """Nobody waits in vain; but an id that is known is perhaps somebody else's."""
        if await self._leases.get(ask.lease) is None:
            await self._effects.refuse(ask, why)
        raise Refused(f"lease {ask.lease}: {why}")

    async def release(self, envelope: Envelope) -> None:
        """The hub is done with a lease, perhaps before its request came."""
        ask = envelope.message
        assert isinstance(ask, LeaseRelease)
        if ask.reason not in OF_HUBS:
            raise BadMessage(
                f"a hub releases as stopped or cancelled, not {ask.reason!r}", reason="invalid"
            )
        granted = await self._leases.release(ask.lease, ask.hub, EndReason(ask.reason))
        failpoints.reach("lease.release.committed")
        if granted is not None:
            await self._effects.apply(granted)

    async def question(self, envelope: Envelope) -> None:
        """Tell again what the row implies. An unknown lease: its request is on its way."""
        ask = envelope.message
        assert isinstance(ask, LineQuestion)
        granted = await self._leases.get(ask.lease)
        if granted is None:
            return
        if granted.lease.hub != ask.hub:
            raise Refused(f"hub {ask.hub} asks for lease {ask.lease} of another hub")
        if granted.lease.phase is LeasePhase.WAITING:
            self._line.ask(granted.lease.pool)
        else:
            await self._effects.answer(granted, to=ask.hub_process)
