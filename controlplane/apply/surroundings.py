"""What agents are told of what is around them: it follows from rows and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog

from controlplane.apply.sending import Sending, send
from controlplane.clients import rabbitmq as routes
from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker
from controlplane.messages import NodeSurroundings
from controlplane.model.addresses import is_loopback
from controlplane.settings import Settings

# An agent that is away hears it again at its hello.
EXPIRES_MS = 120_000
HUBS_AT_MOST, NODES_AT_MOST = 64, 1000
# One message carries all of it: what a hub says of itself must not cost the others theirs.
HUB_BYTES, HUBS_BYTES = 2 * 1024, 20 * 1024

log = structlog.get_logger()


async def tell(
    broker: Broker, postgres: Postgres, settings: Settings, *, node: str | None = None
) -> None:
    """This node, or all of them. Raises `Unavailable`."""
    around = await postgres.hubs.surroundings()
    nodes: dict[str, str] = around["nodes"]
    body = NodeSurroundings.model_validate(
        {
            "stamp": around["stamp"],
            "hubs": fitting(around["hubs"]),
            "nodes": sorted(set(nodes.values()))[:NODES_AT_MOST],
            "control": control(settings),
        }
    )
    told = [node] if node is not None else sorted(nodes)
    await send(
        broker,
        [Sending(body=body, route=routes.command(each), expires_ms=EXPIRES_MS) for each in told],
    )


def fitting(hubs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As many as one message carries; those left out are logged by name."""
    told: list[Mapping[str, Any]] = []
    size = 0
    for hub in hubs:
        length = len(json.dumps(hub))
        if length > HUB_BYTES or size + length > HUBS_BYTES or len(told) == HUBS_AT_MOST:
            log.error("hub.not_told", hub=hub["hub"], bytes=length)
            continue
        told.append(hub)
        size += length
    return told


def control(settings: Settings) -> list[str]:
    """Hosts of the control plane as this process knows them; loopback is each node's own."""
    urls = (settings.postgres_url, settings.redis_url)
    found = {host for url in urls for host in _hosts(url.get_secret_value())}
    found.add(settings.http_host)
    return sorted(
        host for host in found if not is_loopback(f"//[{host}]" if ":" in host else f"//{host}")
    )


def _hosts(url: str) -> Iterable[str]:
    """Postgres takes several, with commas between them; a socket file is nobody's host."""
    place = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    for one in place.split(","):
        try:
            host = urlsplit(f"//{one}").hostname
        except ValueError:
            # Nobody connects to that either, and says so.
            continue
        if host and "%2f" not in host.lower():
            yield host
