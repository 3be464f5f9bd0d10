"""What a person is told when a lease ended before its notebook answered."""

from __future__ import annotations

from tornado.web import HTTPError

from controlplane.errors import BadMessage, GreenroomError, Unavailable, Unroutable
from controlplane.messages import LeaseEnded
from controlplane.model import EndReason
from controlplane.spawner.claim import Claim
from controlplane.spawner.refusal import refusal

RETRY_SECONDS = 30

# Status and sentence by reason; a dry pool asks to come back and is nobody's error.
_ENDINGS: dict[str, tuple[int, str]] = {
    EndReason.EXPIRED: (503, "No notebook of pool {pool} became free in time"),
    EndReason.ATTEMPTS: (503, "Three notebooks of pool {pool} could not be started in a row"),
    EndReason.REFUSED: (400, "This start was refused"),
    EndReason.QUOTA: (403, "A limit is reached"),
    EndReason.SUPERSEDED: (409, "A newer start of the same server took its place"),
    EndReason.DIED: (503, "The notebook ended as soon as it had started"),
    EndReason.NODE_LOST: (503, "The machine of this notebook was lost while it started"),
    EndReason.ADMIN: (503, "An administrator ended this start"),
}


def ended(claim: Claim, answer: LeaseEnded) -> HTTPError:
    """The error that `start()` raises for a lease that ended without serving."""
    status, sentence = _ENDINGS.get(answer.reason, (503, "The start was given up"))
    parts = [sentence.format(pool=claim.pool)]
    if answer.reason == EndReason.EXPIRED and claim.in_line is not None:
        parts.append(f"it was number {claim.in_line.place} in line")
    if answer.detail:
        parts.append(answer.detail)
    return refusal(
        f"{'; '.join(parts)}. (lease {claim.lease})",
        reason="capacity" if answer.reason == EndReason.EXPIRED else answer.reason,
        status=status,
        retry_after=RETRY_SECONDS if status == 503 else 0,
    )


def not_asked(error: GreenroomError) -> HTTPError:
    """The error for a request that never reached the broker."""
    if isinstance(error, BadMessage):
        return refusal(f"The request cannot be sent: {error}.", reason="environment")
    why = (
        "nobody reads this hub's requests: start a lease worker"
        if isinstance(error, Unroutable)
        else "the connection to RabbitMQ is down; running servers are not affected"
    )
    return refusal(
        f"Greenroom cannot be asked for a notebook right now: {why}. ({error})",
        reason="unavailable",
        status=503,
        retry_after=RETRY_SECONDS,
    )


def no_snapshot(met: bool) -> HTTPError:
    """The error for a start that needs to know the pools before anybody told us of them."""
    if not met:
        return not_asked(Unavailable("not connected since the hub started"))
    return refusal(
        "Greenroom has not told this hub yet which pools there are. Try again in a moment; if "
        "it stays like this, no lease worker is running.",
        reason="unavailable",
        status=503,
        retry_after=RETRY_SECONDS,
    )
