"""What agents are told of what is around them: it follows from rows and settings."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

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


async def tell(
    broker: Broker, postgres: Postgres, settings: Settings, *, node: str | None = None
) -> None:
    """This node, or all of them. Raises `Unavailable`."""
    around = await postgres.hubs.surroundings()
    nodes: dict[str, str] = around["nodes"]
    body = NodeSurroundings.model_validate(
        {
            "stamp": around["stamp"],
            "hubs": around["hubs"][:HUBS_AT_MOST],
            "nodes": sorted(set(nodes.values()))[:NODES_AT_MOST],
            "control": control(settings),
        }
    )
    told = [node] if node is not None else sorted(nodes)
    await send(
        broker,
        [Sending(body=body, route=routes.command(each), expires_ms=EXPIRES_MS) for each in told],
    )


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
