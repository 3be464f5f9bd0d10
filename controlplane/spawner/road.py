"""What a hub process needs of a broker, and where it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from controlplane.clients.rabbitmq import Delivery, Route
from controlplane.messages import Message


class Road(Protocol):
    """What is needed of a `Broker`."""

    async def publish(
        self, body: Message, route: Route, *, expires_ms: int | None = None, traceparent: str = ""
    ) -> None:
        """Return when it is confirmed; `Unavailable` or `Unroutable`."""

    async def consume(
        self, queue: str, on_delivery: Callable[[Delivery], Awaitable[None]], *, prefetch: int
    ) -> Any:
        """Read a queue from now on."""

    async def close(self) -> None:
        """End."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Which hub this is, and where its broker is. `amqp_url` holds a password: never shown.

    `proxy`: the host of its proxy, "" where that is this machine or unknown.
    """

    amqp_url: str
    installation: str
    hub: str
    api_url: str
    proxy: str = ""

    def __repr__(self) -> str:
        return f"Address({self.installation!r}, hub={self.hub!r})"
