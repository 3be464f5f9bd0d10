"""Why a container ended, in words that reports carry."""

from __future__ import annotations

from controlplane.clients.docker.engine import Seen
from controlplane.errors import GreenroomError

# What entry.sh and warm_start.py say with their exit codes (docs/container.md).
_CODES = {
    64: "no_singleuser",
    65: "interpreter",
    67: "channel",
    68: "no_jupyter",
    69: "bad_tries",
    70: "rehearsal",
    71: "capabilities",
    72: "entry_point",
}


class WarmupError(GreenroomError):
    """A notebook did not become warm. `reason` is for reports, the message for people."""

    def __init__(self, reason: str, detail: str, *, exit_code: int | None = None) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.exit_code = exit_code


def reason_of(seen: Seen, *, otherwise: str) -> str:
    """The reason that evidence gives, else `otherwise`."""
    if seen.out_of_memory:
        return "out_of_memory"
    return _CODES.get(seen.exit_code or 0, otherwise)
