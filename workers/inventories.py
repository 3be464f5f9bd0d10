"""Inventories that came in parts, put together."""

from __future__ import annotations

from controlplane.errors import BadMessage
from controlplane.messages import Held, NodeInventory

MOST_PARTS = 100


class Inventories:
    """The newest inventory of each node, as far as its parts have come.

    Parts that went to two copies of a worker never come together; the next inventory, 10 s
    later, has another chance. Most nodes need one part.
    """

    def __init__(self) -> None:
        self._parts: dict[str, dict[int, NodeInventory]] = {}

    def add(self, part: NodeInventory) -> NodeInventory | None:
        """The whole inventory once its last part is here. It is complete if all parts are.

        Raises `BadMessage` for numbers that make no sense.
        """
        if not 1 <= part.part <= part.parts <= MOST_PARTS:
            raise BadMessage(f"part {part.part} of {part.parts} of an inventory", reason="invalid")
        if part.parts == 1:
            self._parts.pop(part.node, None)
            return part
        parts = self._of_the_same(part)
        parts[part.part] = part
        # Kept until the next inventory: the handler may have to repeat itself.
        return _together(list(parts.values())) if len(parts) == part.parts else None

    def _of_the_same(self, part: NodeInventory) -> dict[int, NodeInventory]:
        known = self._parts.get(part.node, {})
        if any(p.inventory != part.inventory or p.parts != part.parts for p in known.values()):
            known = {}
        self._parts[part.node] = known
        return known


def _together(parts: list[NodeInventory]) -> NodeInventory:
    """As old as its oldest part: nothing after that can be known to be missing."""
    held: tuple[Held, ...] = tuple(h for p in sorted(parts, key=lambda p: p.part) for h in p.held)
    oldest = min(parts, key=lambda p: p.seq)
    complete = all(p.complete for p in parts)
    # No validation: one message could not be as long as all of them.
    return oldest.model_copy(update={"held": held, "complete": complete, "part": 1, "parts": 1})
