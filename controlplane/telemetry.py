"""Logs and metrics of every process.

Logs: one structlog line per decision, JSON or for a console, without secrets. Metrics: all of
Greenroom's are declared here, each with a row in docs/metrics.md; label values that are known
in advance exist from the start, so that a rate over them is never missing.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram
from pydantic import SecretStr

from controlplane.errors import Unroutable
from controlplane.model.phases import EndReason, LeasePhase, NodeState, NotebookPhase

EXCHANGES = ("events", "requests", "commands", "suspect", "quarantine", "direct")
LANES = ("lease.requests", "lease.reports", "refill", "liveness", "suspect", "node", "hub")
OUTCOMES = ("done", "ignored", "late", "lost", "quarantined", "suspect")
BAD_CONTENT = ("malformed", "oversized", "version", "unknown", "invalid")
REASONS = (*BAD_CONTENT, "refused", "bug", "repeated", "other")
FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# The goal is 10 ms for half of them and 50 ms for all but one in a hundred.
ORDER = (0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 1, 5)
SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)

# Messages
PUBLISHED = Counter(
    "greenroom_messages_published", "Messages by what the broker said", ["exchange", "outcome"]
)
PUBLISH_SECONDS = Histogram(
    "greenroom_message_publish_seconds", "From publish to confirm", buckets=FAST
)
HANDLED = Counter("greenroom_messages_handled", "Messages settled", ["queue", "outcome"])
HANDLE_SECONDS = Histogram(
    "greenroom_message_handle_seconds", "From delivery to settled", ["queue"], buckets=FAST
)
RETRIED = Counter("greenroom_messages_retried", "Handler calls repeated: a service away", ["queue"])
QUARANTINED = Counter("greenroom_messages_quarantined", "Messages put aside", ["reason"])
LANE_PAUSED = Gauge("greenroom_lane_paused", "1 while a lane waits for a service", ["queue"])
BROKER_CONNECTED = Gauge("greenroom_broker_connected", "1 while both connections are up")
CANARY_AGE = Gauge("greenroom_canary_age_seconds", "Since the last canary came back")
TICKS = Counter("greenroom_ticks", "Calls of what is done again and again", ["tick", "outcome"])
TICK_SECONDS = Histogram("greenroom_tick_seconds", "One call of a tick", ["tick"], buckets=FAST)

# Leases, told by the lease worker
LEASES_ENDED = Counter("greenroom_leases_ended", "Leases that ended", ["reason"])
LEASE_ORDER_SECONDS = Histogram(
    "greenroom_lease_order_seconds",
    "From the request received to its activation ordered",
    buckets=ORDER,
)
LEASE_START_SECONDS = Histogram(
    "greenroom_lease_start_seconds", "From the request to serving", ["start"], buckets=SLOW
)
LEASE_STAGE_SECONDS = Histogram(
    "greenroom_lease_stage_seconds", "One stage of a start", ["stage"], buckets=FAST
)
LEASES = Gauge("greenroom_leases", "Leases that have not ended", ["pool", "phase"])
REISSUED = Counter("greenroom_commands_reissued", "Commands sent again by the sweep", ["command"])

# Pools and nodes, told by refill and liveness
NOTEBOOKS = Gauge("greenroom_notebooks", "Notebooks in Postgres", ["pool", "phase"])
WARM_TARGET = Gauge("greenroom_pool_warm_target", "Warm notebooks wanted", ["pool"])
WAITING = Gauge("greenroom_pool_waiting", "People in a pool's line", ["pool"])
CREATES = Counter("greenroom_refill_creates", "Notebooks ordered", ["pool"])
RETIRES = Counter("greenroom_refill_retires", "Unheld notebooks sent away", ["pool", "reason"])
REFILL_BUGS = Counter("greenroom_refill_bugs", "Looks at a pool that met a bug of ours")
NODES = Gauge("greenroom_nodes", "Nodes", ["state"])
BLIND = Gauge("greenroom_liveness_blind", "1 while over half the nodes fell silent at once")

# One node, told by its agent
HELD = Gauge("greenroom_node_notebooks", "Containers that the agent holds", ["state"])
WARMUP_SECONDS = Histogram("greenroom_warmup_seconds", "From create to ready", buckets=SLOW)
ACTIVATION_SECONDS = Histogram(
    "greenroom_activation_seconds", "From accepted to served", buckets=FAST
)
ACTIVATION_WAIT_SECONDS = Histogram(
    "greenroom_activation_wait_seconds", "Waiting for a turn to activate", buckets=FAST
)
ENGINE_SECONDS = Histogram(
    "greenroom_engine_call_seconds", "One call to the Docker engine", ["call"], buckets=FAST
)
ENGINE_FAILURES = Counter("greenroom_engine_failures", "Docker calls that failed", ["call"])
FIREWALL = Gauge("greenroom_node_firewall", "1 while the notebooks' rules are in place")
HUBS_CUT_OFF = Gauge("greenroom_node_hubs_cut_off", "Hubs that notebooks cannot reach")
FIREWALL_REPAIRS = Counter("greenroom_node_firewall_repairs", "Rules that somebody took away")
REFUSALS = Counter("greenroom_activations_refused", "Activations refused", ["reason"])
ROOTS_FAILING = Gauge("greenroom_node_roots_failing", "Roots with a backup that do not answer")
ON_BACKUP = Counter("greenroom_activations_on_backup", "People given the backup", ["access"])

# One hub, told by the spawner
SPAWN_SECONDS = Histogram(
    "greenroom_spawn_seconds", "start() until its URL or its error", ["outcome"], buckets=SLOW
)


def _exist_from_the_start() -> None:
    for exchange in EXCHANGES:
        for outcome in ("confirmed", "unroutable", "unavailable"):
            PUBLISHED.labels(exchange=exchange, outcome=outcome)
    for queue in LANES:
        HANDLE_SECONDS.labels(queue=queue)
        RETRIED.labels(queue=queue)
        LANE_PAUSED.labels(queue=queue)
        for outcome in OUTCOMES:
            HANDLED.labels(queue=queue, outcome=outcome)
    _each(QUARANTINED, REASONS)
    _each(LEASES_ENDED, (reason.value for reason in EndReason))
    _each(LEASE_START_SECONDS, ("warm", "waited", "cold"))
    _each(REISSUED, ("create", "activate", "retire"))
    _each(NODES, (state.value for state in NodeState))
    _each(HELD, ("creating", "warming", "ready", "activating", "serving", "exited", "removing"))
    _each(ON_BACKUP, ("ro", "rw"))
    _each(SPAWN_SECONDS, ("served", "refused", "expired", "cancelled", "unavailable"))


def _each(metric: Counter | Gauge | Histogram, values: Iterable[str]) -> None:
    for value in values:
        metric.labels(value)


_exist_from_the_start()


def pool_exists(pool: str) -> None:
    """Give a pool all its label values; called when a pool is first seen."""
    for lease_phase in LeasePhase:
        LEASES.labels(pool=pool, phase=lease_phase.value)
    for notebook_phase in NotebookPhase:
        NOTEBOOKS.labels(pool=pool, phase=notebook_phase.value)
    CREATES.labels(pool=pool)
    for reason in ("surplus", "superseded", "stale", "draining", "stuck", "failed"):
        RETIRES.labels(pool=pool, reason=reason)


def lane(queue: str) -> str:
    """The label of a queue: one for all nodes, one for all hubs."""
    return queue if queue in LANES else queue.partition(".")[0]


def published(exchange: str) -> None:
    """The broker has a message."""
    PUBLISHED.labels(exchange=_exchange(exchange), outcome="confirmed").inc()


def publish_failed(exchange: str, error: Exception) -> None:
    """The broker has it not, or did not say so."""
    outcome = "unroutable" if isinstance(error, Unroutable) else "unavailable"
    PUBLISHED.labels(exchange=_exchange(exchange), outcome=outcome).inc()


def handled(queue: str, outcome: str, seconds: float) -> None:
    """A message was settled, or taken away."""
    HANDLED.labels(queue=lane(queue), outcome=outcome).inc()
    HANDLE_SECONDS.labels(queue=lane(queue)).observe(seconds)


def retried(queue: str) -> None:
    """A handler met a service that is away."""
    RETRIED.labels(queue=lane(queue)).inc()


def quarantined(reason: str) -> None:
    """A message was put aside."""
    QUARANTINED.labels(reason=reason if reason in REASONS else "other").inc()


def ticked(tick: str, outcome: Literal["done", "failed"], seconds: float) -> None:
    """A tick was called."""
    TICKS.labels(tick=tick, outcome=outcome).inc()
    TICK_SECONDS.labels(tick=tick).observe(seconds)


def _exchange(full: str) -> str:
    short = full.rpartition(".")[2]
    return short if short in EXCHANGES else "direct"


_SECRET_KEY = re.compile(r"(?i)seal|token|secret|passw|cookie|authorization|environment|api_key")
_SEAL = re.compile(r"gAAAA[A-Za-z0-9_=-]{20,}")
_LOGIN_IN_URL = re.compile(r"://[^/\s@]+@")
HIDDEN = "[hidden]"


def configure(format: Literal["json", "console"], level: str) -> None:
    """Log to stdout from here on, the drivers' logs included. Workers and CLI; never a hub."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    # Past the logging module: a line through it costs twice as much.
    structlog.configure(
        processors=[*shared, _time_and_event_first, _renderer(format)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _time_and_event_first,
                _renderer(format),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def configure_in_hub(log: logging.Logger | logging.LoggerAdapter[Any]) -> None:
    """Log through a hub's own logger as `event key=value`; the hub decides format and level."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=lambda *_: log,
        cache_logger_on_first_use=False,
    )


def hide_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Processor: nothing that may be a secret gets past it, by its key or by its looks."""
    return {key: _safe(key, value) for key, value in event.items()}


@lru_cache(maxsize=1024)
def _names_a_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _safe(key: str, value: Any) -> Any:
    if _names_a_secret(key) or isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, str):
        return _LOGIN_IN_URL.sub("://", _SEAL.sub(HIDDEN, value))
    if isinstance(value, float | int):
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return {str(k): _safe(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe("", v) for v in value]
    return value


def _time_and_event_first(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Processor: what an eye looks for stands on the left of each line."""
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return first | dict(event)


def _renderer(format: Literal["json", "console"]) -> Any:
    if format == "json":
        return structlog.processors.JSONRenderer(default=str)
    return structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
