"""The answer to a start that has to wait outside the hub: 429, come back, your place is kept."""

from __future__ import annotations

from collections.abc import Callable

from tornado.web import HTTPError

from controlplane.spawner import page
from controlplane.spawner.claim import queue_event
from controlplane.spawner.places import Kept, Places
from controlplane.spawner.refusal import Refusal

STATUS = 429
REASON = "queue"
# A page looks at a stored answer, which costs the hub little; a program starts again.
LOOK_SECONDS = 5
LOOKS_PER_SECOND = 20
STARTS_PER_SECOND = 4


class Standing:
    """How one person in line stands, said anew each time that a page asks.

    Asking is coming back: it keeps the place for another `seconds`. From `renew_at` on the page
    starts again, before the lease's own deadline.
    """

    def __init__(
        self,
        kept: Kept,
        places: Places,
        *,
        hold: int,
        seconds: float,
        addresses: page.Addresses,
        renew_at: float,
    ) -> None:
        self._kept = kept
        self._places = places
        self._hold = hold
        self._seconds = seconds
        self._addresses = addresses
        self._renew_at = renew_at

    @property
    def retry_after(self) -> int:
        """Seconds until a program should start again: the more of them, the later."""
        return self._pause(len(self._places) / STARTS_PER_SECOND)

    def words(self) -> str:
        """Place, expected time, reason, and what happens next."""
        claim = self._kept.claim
        if not self._is_kept:
            return "Your place in line was given up, as nobody came back for it."
        if claim.phase in ("claimed", "serving"):
            return "A notebook is there for you."
        if claim.in_line is None:
            return f"You are in line for a notebook of pool {claim.pool}. {self._promise}"
        return f"{queue_event(claim.in_line)['message']}. {self._promise}"

    def html(self, now: float) -> str:
        """The same for a page, which goes on by itself. The place is kept from now on again."""
        self._kept.seen, self._kept.until = now, now + self._seconds
        at_once = (
            not self._is_kept
            or self._kept.claim.phase not in ("asking", "waiting")
            or now >= self._renew_at
            or self._places.turn_of(self._kept, self._hold, now)
        )
        return page.retry(
            self.words(),
            url=self._addresses.start if at_once else self._addresses.look,
            seconds=1 if at_once else self._pause(len(self._places) / LOOKS_PER_SECOND),
            addresses=self._addresses,
        )

    @property
    def _is_kept(self) -> bool:
        return self._places.find(self._kept.who) is self._kept and self._kept.claim.ended is None

    @property
    def _promise(self) -> str:
        return f"Your place is kept for {self._seconds:g} s; this page goes on by itself."

    def _pause(self, seconds: float) -> int:
        """Not so long that the place is lost before."""
        longest = max(1, int(self._seconds / 2))
        return min(max(LOOK_SECONDS, round(seconds)), longest)


class InLine(Refusal):
    """The refusal itself. The hub keeps it and shows it again: each time as things are then."""

    def __init__(self, standing: Standing, clock: Callable[[], float]) -> None:
        if Refusal is HTTPError:
            super().__init__(STATUS, standing.words())
        else:
            super().__init__(standing.words(), reason=REASON, status_code=STATUS)
        self.headers = {"Retry-After": str(standing.retry_after)}
        self._standing = standing
        self._clock = clock

    @property
    def jupyterhub_message(self) -> str:
        """What the hub shows where it shows no HTML."""
        return self._standing.words()

    @property
    def jupyterhub_html_message(self) -> str:
        """What the hub puts into its pages."""
        return self._standing.html(self._clock())
