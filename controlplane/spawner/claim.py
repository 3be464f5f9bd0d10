"""One lease as this hub process knows it, and everybody here who waits to hear of it.

Pure but for the event that wakes those who wait. What it heard is kept in order of
strength: ended is final, serving beats claimed, claimed beats waiting; a duplicate, an old
answer or one of another lease changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from controlplane.messages import (
    KnownLease,
    LeaseClaimed,
    LeaseEnded,
    LeaseServing,
    LinePlaces,
)

Phase = Literal["asking", "waiting", "claimed", "serving", "ended"]
_STRENGTH: dict[Phase, int] = {
    "asking": 0,
    "waiting": 1,
    "claimed": 2,
    "serving": 3,
    "ended": 4,
}

_ON_BACKUP = {
    "backup-ro": (
        "Your home storage does not answer: you have its backup, read-only, and cannot save "
        "anything there. Start your server again later to be back in your own home"
    ),
    "backup-rw": (
        "Your home storage does not answer: you have its backup. What you save there does not "
        "reach your own home; start your server again later to be back in it"
    ),
}


@dataclass(frozen=True, kw_only=True)
class InLine:
    """A place in the line, first is 1."""

    place: int
    line: LinePlaces


class Claim:
    """A lease that one spawner of this process holds or asked for.

    `since` is the monotonic second at which we knew that it serves: a snapshot that speaks
    from later on must know it. `on_end` is called once, when a lease that was serving turns
    out to be over.
    """

    def __init__(
        self, lease: str, *, pool: str = "", since: float, on_end: Callable[[], None] | None = None
    ) -> None:
        self.lease = lease
        self.pool = pool
        self.since = since
        self.phase: Phase = "asking"
        self.url: str | None = None
        # Which backup its home is on; empty for the home itself.
        self.home = ""
        self.in_line: InLine | None = None
        self.served: LeaseServing | None = None
        self.ended: LeaseEnded | None = None
        # Its start() waits no longer; the lease goes on.
        self.aside = False
        self._on_end = on_end
        self._changed = asyncio.Event()

    @property
    def settled(self) -> bool:
        """Whether a start that waits for this has its answer."""
        return self.phase in ("serving", "ended")

    def status(self) -> int | None:
        """`Spawner.poll`: None while nothing says that it is over."""
        if self.ended is None:
            return None
        return 1 if self.ended.reason in ("died", "node_lost") else 0

    def hear(self, answer: LeaseClaimed | LeaseServing | LeaseEnded, now: float) -> None:
        """Take an answer about this lease."""
        match answer:
            case LeaseEnded():
                self.end(answer)
            case LeaseServing() if self._rise("serving"):
                self.url, self.served, self.since = answer.url, answer, now
                self.home = answer.home
                self._tell()
            case LeaseClaimed() if self._rise("claimed"):
                self._tell()

    def hear_place(self, place: int, line: LinePlaces) -> None:
        """Take a place in the line. Also after `claimed`: an attempt may have gone back to it."""
        if not self.settled and (self.in_line is None or self.in_line.line != line):
            self.phase, self.in_line = "waiting", InLine(place=place, line=line)
            self._tell()

    def hear_snapshot(self, known: KnownLease, now: float) -> None:
        """Take what the snapshot says of it: this heals answers that were lost."""
        self.pool = self.pool or known.pool
        if known.phase == "serving" and known.url is None:
            return
        if self._rise(known.phase):
            self.url, self.since, self.home = known.url, now, known.home
            self._tell()

    def end(self, answer: LeaseEnded) -> None:
        """It is over. The first reason stands."""
        if self.ended is not None:
            return
        was_serving = self.phase == "serving"
        self.phase, self.ended = "ended", answer
        self._tell()
        if was_serving and self._on_end is not None:
            self._on_end()

    def step_aside(self) -> None:
        """Whoever waits for the answer is to wait elsewhere."""
        self.aside = True
        self._tell()

    def take_up(self, on_end: Callable[[], None]) -> None:
        """Another start() waits for it from now on."""
        self.aside, self._on_end = False, on_end

    async def wait_settled(self, seconds: float) -> bool:
        """Whether the answer is there within so many seconds, or the wait is over without."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                while not (self.settled or self.aside):
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.settled or self.aside

    async def heard(self) -> None:
        """Return when anything at all was heard of it."""
        while self.phase == "asking":
            await self._changed.wait()

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What to show to the person who waits; each listener gets all that is still true."""
        shown = None
        while True:
            changed, event = self._changed, self._event()
            if event != shown:
                shown = event
                yield event.copy()
            if self.settled or self.aside:
                return
            await changed.wait()

    def _rise(self, phase: Phase) -> bool:
        if _STRENGTH[phase] <= _STRENGTH[self.phase]:
            return False
        self.phase = phase
        return True

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _event(self) -> dict[str, Any]:
        if self.phase == "waiting" and self.in_line is not None:
            return queue_event(self.in_line)
        message, progress = {
            "asking": (f"Asking for a notebook of pool {self.pool}", 10),
            "waiting": (f"In line for a notebook of pool {self.pool}", 20),
            "claimed": ("A warm notebook was found, it is being made yours", 70),
            "serving": (_ON_BACKUP.get(self.home, "Your notebook answers"), 95),
            "ended": ("The notebook is gone", 100),
        }[self.phase]
        return {"progress": progress, "message": message}


def queue_event(waiting: InLine) -> dict[str, Any]:
    """Place, expected time and the reason, in words and in the key `queue` for templates."""
    line = waiting.line
    # The line's number is for its head: everybody waits for all who stand before.
    eta_seconds = None if line.eta_seconds is None else line.eta_seconds * waiting.place
    about = "" if eta_seconds is None else f", about {_duration(eta_seconds)}"
    why = {
        "warming": f"{line.warming} are warming",
        "at_capacity": "the pool is at capacity, a notebook is free when somebody stops one",
        "nothing_coming": f"no notebook is coming{_because(line.detail)}: tell the administrators",
    }[line.why]
    return {
        "progress": 30,
        "message": f"Number {waiting.place} in line for pool {line.pool}{about}: {why}",
        "queue": {
            "position": waiting.place,
            "eta_seconds": eta_seconds,
            "pool": line.pool,
            "why": line.why,
            "warming": line.warming,
        },
    }


def _because(detail: str) -> str:
    return f" ({detail})" if detail else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
