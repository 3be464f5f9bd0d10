"""A hub process arrives, or lists the leases that it knows."""

from __future__ import annotations

from controlplane import failpoints
from controlplane.apply import hubs, surroundings
from controlplane.apply.leases import LeaseEffects
from controlplane.messages import EVERY_LEASE, Envelope, HubHello, HubInventory
from controlplane.model.phases import LeasePhase
from workers.lease.line import LinesOfPools
from workers.tools import Tools


class Hubs:
    """Handlers of what a hub says about itself."""

    def __init__(self, tools: Tools, effects: LeaseEffects, line: LinesOfPools) -> None:
        self._tools = tools
        self._broker = tools.broker
        self._hubs = tools.postgres.hubs
        self._effects = effects
        self._line = line

    async def hello(self, envelope: Envelope) -> None:
        """From here on this process hears the answers; first of all, everything that is."""
        hello = envelope.message
        assert isinstance(hello, HubHello)
        await self._hubs.hello(hello.hub, hello.hub_process, hello.api_url, clients=hello.clients)
        failpoints.reach("lease.hub.greeted")
        leases, pools = await self._hubs.snapshot(hello.hub)
        await hubs.snapshot(
            self._broker, hub=hello.hub, hub_process=hello.hub_process, leases=leases, pools=pools
        )
        for lease in leases:
            if lease.phase is LeasePhase.WAITING:
                self._line.ask(lease.pool)
        # Agents let it through, and look whether it can be reached.
        await surroundings.tell(self._broker, self._tools.postgres, self._tools.settings)

    async def inventory(self, envelope: Envelope) -> None:
        """What complete lists leave out twice has no hub any more. Silence ends nothing."""
        listed = envelope.message
        assert isinstance(listed, HubInventory)
        between = EVERY_LEASE if listed.complete else listed.between
        if between is None:
            return
        ended = await self._hubs.inventory(
            listed.hub, listed.hub_process, listed.leases, between=between
        )
        for granted in ended:
            await self._effects.apply(granted)
