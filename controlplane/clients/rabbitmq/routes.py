"""Where a message goes. Requests and commands are mandatory: unroutable ones raise.

Events, reports and answers may find nobody: the next sweep, inventory or snapshot heals that.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.messages import Message, Moved, NodeHeartbeat, NodeInventory, Report

# Milliseconds after which a newer one has long been said: a queue whose reader is away for a
# night must not fill with them, and its reader must not believe them in the morning.
_SAID_AGAIN: dict[type[Report], int] = {NodeHeartbeat: 30_000, NodeInventory: 60_000}


@dataclass(frozen=True)
class Route:
    """An exchange without the installation's prefix, and a routing key.

    `exchange` is empty for the default exchange, whose key is a queue (without prefix too).
    `expires_ms` holds where the publisher says nothing else.
    """

    exchange: str
    key: str
    mandatory: bool = True
    persistent: bool = True
    expires_ms: int | None = None


def request(message: Message) -> Route:
    """To the lease workers."""
    return Route("requests", _stem(message))


def command(node: str) -> Route:
    """To one agent."""
    return Route("commands", node)


def report(message: Report) -> Route:
    """From an agent to whoever listens."""
    return Route(
        "events",
        f"{_stem(message)}.{message.node}",
        mandatory=False,
        expires_ms=_SAID_AGAIN.get(type(message)),
    )


def event(message: Moved) -> Route:
    """A decided fact: `event.<entity>.<phase>.<pool or node>`."""
    about = message.pool or message.node or message.key
    key = f"event.{message.entity}.{message.phase}.{about}"
    return Route("events", key, mandatory=False)


def hub(hub_process: str) -> Route:
    """To one hub process. Lost when it is gone; its next snapshot makes up for it."""
    return Route("", f"hub.{hub_process}", mandatory=False, persistent=False)


def _stem(message: Message) -> str:
    return message.TYPE.rpartition(".v")[0]
