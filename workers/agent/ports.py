"""The node's published ports. Each goes round the whole range before it is used again.

A proxy may hold a route to a port for a while after its notebook went: the next notebook
must not be the one that answers there.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.errors import Refused


class Ports:
    """Hands out ports of first..last, `start` being the first to try."""

    def __init__(self, first: int, last: int, *, start: int) -> None:
        self._first = first
        self._count = last - first + 1
        self._next = (start - first) % self._count
        self._taken: set[int] = set()

    def hold(self, ports: Iterable[int]) -> None:
        """These belong to notebooks that are here already."""
        self._taken.update(ports)

    def take(self) -> int:
        """A free port, or `Refused` when every one is in use."""
        for _ in range(self._count):
            port = self._first + self._next
            self._next = (self._next + 1) % self._count
            if port not in self._taken:
                self._taken.add(port)
                return port
        raise Refused(
            f"all {self._count} ports of node.first_port..node.last_port are in use: "
            "widen the range"
        )

    def give_back(self, port: int) -> None:
        """Its notebook is gone."""
        self._taken.discard(port)
