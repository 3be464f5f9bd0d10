"""Every exchange and queue of an installation, as values. Names are without the prefix."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.errors import Terminal

# A message that comes back from its reader this often is not given to a handler again.
TRIES = 3
# RabbitMQ 4 drops after 20 returns unless told otherwise; listing quarantine returns messages.
NO_LIMIT = 1_000_000

EXCHANGES = {
    "events": "topic",
    "requests": "direct",
    "commands": "direct",
    "suspect": "fanout",
    "quarantine": "fanout",
}
REQUESTS = (
    "lease.request",
    "lease.release",
    "line.question",
    "pools.question",
    "hub.hello",
    "hub.inventory",
)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue and what is bound to it: (exchange, routing key)."""

    name: str
    bindings: tuple[tuple[str, str], ...] = ()
    delivery_limit: int = NO_LIMIT
    dead_letters: str = ""
    transient: bool = False
    arguments: dict[str, int | str] = field(default_factory=dict)


def _events(*patterns: str) -> tuple[tuple[str, str], ...]:
    return tuple(("events", pattern) for pattern in patterns)


SHARED = (
    Queue(name="lease.requests", bindings=tuple(("requests", key) for key in REQUESTS)),
    Queue(
        name="lease.reports",
        bindings=_events(
            "report.run.#", "report.node.inventory.#", "event.notebook.ready.#", "event.node.#"
        ),
    ),
    Queue(
        name="refill",
        bindings=_events(
            "report.warmup.#",
            "report.notebook.gone.#",
            "report.node.inventory.#",
            "event.pool.#",
            "event.node.#",
            "event.notebook.leased.#",
            "event.notebook.failed.#",
            "event.notebook.gone.#",
            "event.lease.waiting.#",
        ),
    ),
    Queue(name="liveness", bindings=_events("report.node.#")),
    Queue(
        name="suspect",
        bindings=(("suspect", ""),),
        delivery_limit=TRIES,
        dead_letters="quarantine",
    ),
    Queue(name="quarantine", bindings=(("quarantine", ""),)),
)


def queue(name: str) -> Queue:
    """How this queue is declared: a shared one, `node.<node>`, `hub.<process>`, `canary.<id>`."""
    for shared in SHARED:
        if shared.name == name:
            return shared
    kind, _, rest = name.partition(".")
    if kind == "node" and rest:
        return Queue(name=name, bindings=(("commands", rest),))
    if kind in ("hub", "canary") and rest:
        return Queue(name=name, transient=True)
    raise Terminal(f"no queue is called {name!r}: names are those of docs/architecture.md")
