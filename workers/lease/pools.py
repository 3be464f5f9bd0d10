"""What the pools look like now, for a hub that shows them to somebody. Asked, never pushed."""

from __future__ import annotations

from controlplane.apply import hubs
from controlplane.decide.expect import at_once
from controlplane.messages import Envelope, PoolsQuestion
from workers.tools import Tools


class PoolsOfHubs:
    """The handler of a form's question. It changes nothing."""

    def __init__(self, tools: Tools) -> None:
        self._broker = tools.broker
        self._hubs = tools.postgres.hubs
        self._index = tools.redis

    async def question(self, envelope: Envelope) -> None:
        """Every pool with what is warm, and the limits that this hub's people fall under."""
        ask = envelope.message
        assert isinstance(ask, PoolsQuestion)
        offer = await self._hubs.shelves(ask.hub)
        dry = [each.pool.name for each in offer.shelves if not at_once(each)]
        paces = {pool: await self._index.pace(pool) for pool in dry}
        await hubs.shelves(
            self._broker, hub=ask.hub, hub_process=ask.hub_process, offer=offer, paces=paces
        )
