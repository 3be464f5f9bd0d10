"""What the last snapshot said: this hub's open leases and the pools. Pure; times are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.messages import HubSnapshot, KnownLease, KnownPool

# A hello expires in the broker after this long, and its answer is not much later.
HELLO_SECONDS = 30.0


class Memory:
    """Snapshots put together from their parts, and what follows from their silence.

    All times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self.pools: Mapping[str, KnownPool] | None = None  # None: nobody told us yet
        self.leases: Mapping[str, KnownLease] = {}
        self._servers: dict[tuple[str, str], KnownLease] = {}
        self._hellos: list[float] = []
        self._parts: dict[str, dict[int, HubSnapshot]] = {}

    def said_hello(self, now: float) -> None:
        """A snapshot was asked for."""
        self._hellos = [*self._not_too_old(now), now]

    def hear(self, part: HubSnapshot, now: float) -> float | None:
        """Take a part. When it was the last one: the time from which the snapshot speaks.

        Two hellos may be under way and answers do not say which one they are for, so the
        oldest is taken: a lease that is younger is not missed by mistake.
        """
        parts = self._parts.setdefault(part.snapshot, {})
        parts[part.part] = part
        if len(parts) < part.parts:
            return None
        self._parts.clear()
        self._take(parts.values())
        self._hellos = self._not_too_old(now)
        return self._hellos.pop(0) if self._hellos else now - HELLO_SECONDS

    def _not_too_old(self, now: float) -> list[float]:
        return [at for at in self._hellos if now - at < HELLO_SECONDS]

    def of(self, user: str, server: str) -> KnownLease | None:
        """The open lease of this server, as the last snapshot knew it."""
        return self._servers.get((user, server))

    def _take(self, parts: Iterable[HubSnapshot]) -> None:
        parts = list(parts)
        self.pools = {pool.pool: pool for part in parts for pool in part.pools}
        self.leases = {lease.lease: lease for part in parts for lease in part.leases}
        self._servers = {(k.user, k.server): k for k in self.leases.values()}
