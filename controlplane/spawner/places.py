"""Places in line that no start() holds: kept for people who are asked to come back. Pure.

A start that waits occupies one of the hub's `concurrent_spawn_limit`, which is there for
everybody. So only so many wait inside the hub (`held`); the others are sent away with their
lease still in line, and come back for it. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.spawner.claim import Claim

# What a browser that still shows the page has done in the meantime.
SEEN_SECONDS = 45.0

Who = tuple[str, str]  # user, server


@dataclass(kw_only=True, eq=False)
class Kept:
    """One lease that waits for its person until then. `over`: it was not taken up again."""

    who: Who
    claim: Claim
    until: float
    seen: float
    over: Callable[[], None] = lambda: None

    @property
    def place(self) -> float:
        """In line, first is 1; last of all when nobody told us yet."""
        return self.claim.in_line.place if self.claim.in_line else float("inf")


class Places:
    """Who waits for a pool, in a start() or outside, as one hub process knows it."""

    def __init__(self) -> None:
        self.held = 0
        self._kept: dict[Who, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, kept: Kept) -> None:
        """From now on, until it is taken up or lapses."""
        self._kept[kept.who] = kept

    def find(self, who: Who) -> Kept | None:
        """What is kept for this server."""
        return self._kept.get(who)

    def of_user(self, user: str) -> Kept | None:
        """What was kept last for any server of this user."""
        theirs = [kept for kept in self._kept.values() if kept.who[0] == user]
        return theirs[-1] if theirs else None

    def take(self, who: Who) -> Kept | None:
        """Keep it no longer: somebody came for it."""
        return self._kept.pop(who, None)

    def lapsed(self, now: float) -> list[Kept]:
        """Take out what nobody came for, and what ended meanwhile."""
        gone = [k for k in self._kept.values() if k.until <= now or k.claim.ended is not None]
        for kept in gone:
            del self._kept[kept.who]
        return gone

    def turn_of(self, kept: Kept, hold: int, now: float) -> bool:
        """Whether its person may wait in a start() now: there is room, and nobody before it.

        People who closed their page are not waited for.
        """
        here = [k for k in self._kept.values() if now - k.seen < SEEN_SECONDS or k is kept]
        before = sum((k.place, k.claim.lease) < (kept.place, kept.claim.lease) for k in here)
        return self.held + before < hold
