"""What agents hold, put together from parts: it heals reports that were lost."""

from __future__ import annotations

from collections import OrderedDict

from controlplane.apply.leases import LeaseEffects
from controlplane.errors import BadMessage
from controlplane.messages import Envelope, NodeInventory
from workers.tools import Tools

# Unfinished ones: a node sends one every 10 s, and their parts follow each other at once.
UNFINISHED = 100
MOST_PARTS = 100


class Inventories:
    """The lease worker's half of an inventory; refill does its own."""

    def __init__(self, tools: Tools, effects: LeaseEffects) -> None:
        self._leases = tools.postgres.leases
        self._effects = effects
        self._parts = Parts()

    async def part(self, envelope: Envelope) -> None:
        """With the last part: what was held is compared with what was decided."""
        part = envelope.message
        assert isinstance(part, NodeInventory)
        whole = self._parts.add(part)
        if whole is None:
            return
        for granted in await self._leases.inventory(whole):
            await self._effects.apply(granted)
        self._parts.forget(part)


class Parts:
    """Inventories of which parts are missing.

    Several copies of a worker share a queue, so parts may end in different copies and are
    never put together: the next inventory, 10 s later, gets its own chance.
    """

    def __init__(self) -> None:
        self._unfinished: OrderedDict[tuple[str, str], dict[int, NodeInventory]] = OrderedDict()

    def add(self, part: NodeInventory) -> NodeInventory | None:
        """The whole inventory, if this part completes it; the same part again does no harm."""
        if part.parts == 1:
            return part
        if not 1 <= part.part <= part.parts <= MOST_PARTS:
            raise BadMessage(f"part {part.part} of {part.parts} of an inventory", reason="invalid")
        parts = self._unfinished.setdefault(_key(part), {})
        parts[part.part] = part
        if len(self._unfinished) > UNFINISHED:
            self._unfinished.popitem(last=False)
        return _whole(parts) if len(parts) == part.parts else None

    def forget(self, part: NodeInventory) -> None:
        """It was handled; until then a retry finds it again."""
        self._unfinished.pop(_key(part), None)


def _key(part: NodeInventory) -> tuple[str, str]:
    return part.node, part.inventory


def _whole(parts: dict[int, NodeInventory]) -> NodeInventory:
    ordered = [parts[number] for number in sorted(parts)]
    held = tuple(each for part in ordered for each in part.held)
    # The oldest observation speaks for all: what moved meanwhile is newer than the list.
    oldest = min(ordered, key=lambda part: (part.epoch, part.seq))
    complete = all(part.complete for part in ordered)
    return oldest.model_copy(update={"part": 1, "parts": 1, "held": held, "complete": complete})
