"""Everything that the node holds, as reports carry it. Pure but for the ids of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from controlplane.clients.docker.engine import Listed
from controlplane.messages import EVERY_ID, Held, NodeInventory
from workers.agent.journal import Entry, Phase

PART = 150

_STATES: dict[Phase, str] = {
    "creating": "creating",
    "warming": "warming",
    "ready": "ready",
    "accepted": "activating",
    "serving": "serving",
    "exited": "exited",
    "failed": "exited",
    "removing": "removing",
}
_WITH_URL = ("ready", "accepted", "serving")


def held(entry: Entry, url: Callable[[int], str]) -> Held:
    """One notebook that the journal knows."""
    run = entry.run
    return Held.model_validate(
        {
            "notebook": entry.notebook,
            "pool": entry.pool,
            "state": _STATES[entry.phase],
            "lease": run.lease if run else None,
            "attempt": run.attempt if run else 0,
            "url": url(entry.port) if entry.phase in _WITH_URL else None,
            "home": run.home if run else "",
        }
    )


def stranger(notebook: str, line: Listed) -> Held:
    """A container of ours without a journal: whoever uses it must not lose it."""
    return Held.model_validate(
        {
            "notebook": notebook,
            "pool": line.labels.get("greenroom.pool", ""),
            "state": "exited" if line.state == "exited" else "serving",
        }
    )


def counts(held: Sequence[Held]) -> dict[str, int]:
    """How many in each state, none left out."""
    found: Counter[str] = Counter(one.state for one in held)
    return {state: found.get(state, 0) for state in dict.fromkeys(_STATES.values())}


def parts(
    held: Sequence[Held], stamp: Mapping[str, str | int], *, inventory: str, complete: bool
) -> list[NodeInventory]:
    """The list in as many messages as it takes, at least one; all with one stamp.

    Their spans follow each other without a gap: what no part names, this node does not hold.
    """
    held = sorted(held, key=lambda one: one.notebook)
    slices = [held[at : at + PART] for at in range(0, len(held), PART)] or [[]]
    bounds = [EVERY_ID[0], *(part[0].notebook for part in slices[1:]), EVERY_ID[1]]
    return [
        NodeInventory.model_validate(
            {
                **stamp,
                "inventory": inventory,
                "part": number,
                "parts": len(slices),
                "between": between,
                "complete": complete,
                "held": tuple(part),
            }
        )
        for number, (part, between) in enumerate(zip(slices, pairwise(bounds), strict=True), 1)
    ]
