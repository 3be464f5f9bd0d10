"""What agents hold: it heals reports that were lost. Refill does its own half."""

from __future__ import annotations

from controlplane.apply.leases import LeaseEffects
from controlplane.messages import Envelope, NodeInventory
from workers.tools import Tools


class Inventories:
    """Handles each part of an inventory as what it is: all of a span of ids."""

    def __init__(self, tools: Tools, effects: LeaseEffects) -> None:
        self._leases = tools.postgres.leases
        self._effects = effects

    async def part(self, envelope: Envelope) -> None:
        """What is held is compared with what was decided."""
        part = envelope.message
        assert isinstance(part, NodeInventory)
        for granted in await self._leases.inventory(part):
            await self._effects.apply(granted)
