"""Neighbours do not reach each other, and notebooks reach the hub's API."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from controlplane.doctor import firewall
from controlplane.doctor.finding import Finding, fail, ok, warn
from controlplane.doctor.trials import Given, Trials
from controlplane.errors import Conflict
from controlplane.model import ContainerSpec
from controlplane.model.addresses import is_loopback
from controlplane.settings import Settings
from workers.agent.node import network_name
from workers.agent.recipe import PORT

ISOLATION = "isolation"
LISTEN_SECONDS = 300.0
FETCH_SECONDS = 10.0
PORT_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """What one notebook reached of another. `published`: through the node's own addresses, or
    None where that was not tried. `agents`: on the agent's own network, with its rules.
    `closed`: what else it reached and should not."""

    listens: bool
    direct: bool
    published: bool | None
    agents: bool
    closed: tuple[str, ...] = ()


def judge_neighbours(seen: Neighbours) -> Finding:
    """One line."""
    if not seen.listens:
        return fail(ISOLATION, "a container that listens did not last", fix="journalctl -u docker")
    if seen.direct:
        return fail(
            ISOLATION,
            "a notebook reaches its neighbour on their network",
            fix='set "iptables": true in /etc/docker/daemon.json; systemctl restart docker',
        )
    if seen.published:
        return fail(
            ISOLATION,
            "a notebook reaches its neighbour's port through the node's own address",
            fix="apt-get install nftables; systemctl restart greenroom-agent",
        )
    if seen.closed:
        return fail(
            ISOLATION,
            f"a notebook reaches {', '.join(seen.closed)}",
            fix="journalctl -u greenroom-agent | grep firewall; greenroom doctor --node",
        )
    if not seen.agents:
        return ok(
            ISOLATION,
            "neighbours do not reach each other on a network like the agent's; run this again "
            "with the agent up to try the node's own address",
        )
    return ok(ISOLATION, "neighbours do not reach each other on the agent's network")


async def look_at_neighbours(trials: Trials, spec: ContainerSpec, settings: Settings) -> Neighbours:
    """Two containers: one listens, the other tries every way to it."""
    async with trials.network(network_name(settings)) as (network, agents):
        address = str(settings.node.address) if settings.node.address and agents else ""
        # To a container, a loopback address is itself.
        shown = "" if is_loopback(_url_of(address)) else address
        for _ in range(PORT_TRIES):
            port = random.randint(settings.node.first_port, settings.node.last_port)
            try:
                return await _two(trials, spec, settings, (network, shown, port, agents))
            except Conflict:
                # A notebook has that port.
                continue
        return await _two(trials, spec, settings, (network, "", 0, agents))


async def _two(
    trials: Trials, spec: ContainerSpec, settings: Settings, where: tuple[str, str, int, bool]
) -> Neighbours:
    network, address, port, agents = where
    ports = {f"{PORT}/tcp": [{"HostIp": address, "HostPort": str(port)}]} if address else None
    listen = {"do": "listen", "port": PORT, "seconds": LISTEN_SECONDS}
    async with trials.running(spec, listen, Given(network=network, ports=ports)) as listener:
        up = await listener.said()
        ways: list[tuple[str, int]] = [(await listener.address(), PORT)]
        if address:
            gateway = await trials.engine.gateway(network) or address
            ways += [(address, port), (gateway, port)]
        closed = forbidden(settings) if agents else {}
        connect = {"do": "connect", "targets": [*ways, *closed.values()]}
        answer = await trials.ask(spec, connect, Given(network=network))
        # A listener that is gone is reached by nobody, and proves nothing.
        listens = bool(up["up"]) and await listener.runs()
    direct, *by_port = answer["reached"][: len(ways)]
    others = zip(closed, answer["reached"][len(ways) :], strict=True)
    return Neighbours(
        listens=listens,
        direct=direct,
        published=any(by_port) if by_port else None,
        agents=agents,
        closed=tuple(name for name, reached in others if reached),
    )


def forbidden(settings: Settings) -> dict[str, tuple[str, int]]:
    """What no notebook may reach, as far as this machine knows it, by name."""
    broker = urlsplit(settings.amqp_url.get_secret_value())
    found = {"cloud metadata": ("169.254.169.254", 80)}
    if broker.hostname and not is_loopback(_url_of(broker.hostname)):
        found["RabbitMQ"] = (broker.hostname, broker.port or 5672)
    return found


def _url_of(address: str) -> str:
    return f"//[{address}]" if ":" in address else f"//{address}"


def api_url(given: str) -> str:
    """The hub's API from what a person types: `http://10.0.0.5:8081` is enough."""
    parts = urlsplit(given if "//" in given else f"http://{given}")
    path = parts.path.rstrip("/")
    if path.endswith("/hub"):
        path = f"{path}/api"
    elif not path.endswith("/hub/api"):
        path = f"{path}/hub/api"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def judge_hub(url: str, answer: dict[str, Any]) -> Finding:
    """One line for one hub, from `inside.fetch`."""
    check = f"hub {urlsplit(url).netloc}"
    if "error" in answer:
        return fail(
            check,
            f"{url} does not answer a container: {answer['error']}",
            fix="let the node's containers reach that port, and let the hub listen there: "
            'c.JupyterHub.hub_ip = "<the hub\'s address>"',
        )
    version = _version(answer.get("body", ""))
    if answer["status"] != 200 or version is None:
        return warn(
            check,
            f"{url} answers {answer['status']}, but not as a hub's API",
            fix="give the URL of the hub's API, not the proxy's: --hub http://ADDRESS:8081",
        )
    return ok(check, f"JupyterHub {version} answers a container")


async def look_at_hub(
    trials: Trials, spec: ContainerSpec, settings: Settings, url: str
) -> list[Finding]:
    """Ask the hub's API from inside a container."""
    if is_loopback(url):
        fix = 'in jupyterhub_config.py: c.JupyterHub.hub_ip = "<the hub\'s address>"'
        return [fail(f"hub {urlsplit(url).netloc}", "that is each container itself", fix=fix)]
    told = await asyncio.to_thread(firewall.surroundings, settings)
    known = any(api_url(hub.api_url) == url for hub in told.hubs)
    # The agent's rules pass a hub that has said hello: before that, the way alone is tried.
    standing = network_name(settings) if known or settings.node.firewall == "off" else None
    async with trials.network(standing) as (network, _):
        order = {"do": "fetch", "url": url, "seconds": FETCH_SECONDS}
        return [judge_hub(url, await trials.ask(spec, order, Given(network=network)))]


def _version(body: str) -> str | None:
    try:
        said: Any = json.loads(body)
    except ValueError:
        return None
    return str(said["version"]) if isinstance(said, dict) and "version" in said else None


def urls(given: Sequence[str]) -> list[str]:
    """Each hub once, in the order given."""
    return list(dict.fromkeys(api_url(each) for each in given))
