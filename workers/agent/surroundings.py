"""What is around this node: hubs, other nodes, the control plane. Workers tell, names are
looked up here, and the firewall's policy follows from it.

Kept on disk, so that an agent that starts while no worker answers still knows its hubs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from pydantic import ValidationError

from controlplane.messages import KnownHub, NodeSurroundings
from controlplane.model import targets
from controlplane.model.targets import Address, Target, of_address
from controlplane.settings import Settings
from workers.agent import resolvers
from workers.agent.firewall.policy import Policy, metadata, tidy, whole

LOOK_UP_SECONDS = 5.0
LOOK_UP_EVERY_SECONDS = 60.0
MET_AT_MOST = 64
PORTS = {"http": 80, "https": 443}


class Surroundings:
    """One node's. `changed` is set whenever something new was told."""

    def __init__(self, folder: Path, settings: Settings, *, bridge: str, address: str) -> None:
        self._file = folder / "surroundings.json"
        self._names = folder / "names.json"
        self._settings = settings
        self._bridge = bridge
        self._address = ipaddress.ip_address(address)
        self._known: dict[str, tuple[Address, ...]] = {}
        self._told = NodeSurroundings(stamp=0)
        self._met: dict[tuple[str, int], str] = {}
        self._log = structlog.get_logger("agent.surroundings")
        self.rootless = False

    @property
    def hubs(self) -> tuple[KnownHub, ...]:
        """The hubs that ask for notebooks."""
        return self._told.hubs

    def open(self) -> None:
        """Remember what an earlier agent was told, and where its names led."""
        self._known = _read_names(self._names)
        try:
            self._told = NodeSurroundings.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            # Workers tell it again at the hello.
            self._log.warning("surroundings.unreadable", error=str(error)[:200])

    def take(self, told: NodeSurroundings) -> bool:
        """True if it says something new. What is older than the last one says nothing."""
        before = self._told
        if told.stamp < before.stamp:
            return False
        self._told = told
        if told.model_copy(update={"stamp": before.stamp}) == before:
            return False
        self._write(self._file, told.model_dump_json())
        return True

    def meet(self, api_url: str) -> bool:
        """A sealed lease says that its hub's API is there; True if nobody said that before."""
        known = {host_and_port(hub.api_url) for hub in self.hubs}
        if not host_and_port(api_url)[0] or host_and_port(api_url) in known | set(self._met):
            return False
        if len(self._met) >= MET_AT_MOST:
            self._met.pop(next(iter(self._met)))
        self._met[host_and_port(api_url)] = api_url
        return True

    async def policy(self) -> Policy:
        """The rules that follow from all of this. Names that nobody knows now stay as they were."""
        node = self._settings.node
        urls = [*(hub.api_url for hub in self.hubs), *self._met.values()]
        hubs = [await self._api(url) for url in urls]
        clients = [target.network for hub in hubs for target in hub]
        for host in {host for hub in self.hubs for host in hub.clients}:
            clients += map(of_address, await self.look_up(host))
        closed = [*metadata(), *targets.targets(node.forbidden)]
        for host in self._control():
            closed += whole(a for a in await self.look_up(host) if not a.is_loopback)
        return Policy(
            name=self._bridge.removeprefix("gr-"),
            bridge=self._bridge,
            address=self._address,
            first_port=node.first_port,
            last_port=node.last_port,
            hubs=tidy(target for hub in hubs for target in hub),
            dns=targets.addresses(node.dns) or resolvers.servers(),
            never=tidy(closed),
            egress=targets.egress(node.egress),
            clients=None if self.rootless else _sorted([*clients, *targets.networks(node.clients)]),
        )

    async def look_up(self, host: str) -> tuple[Address, ...]:
        """The addresses of a host; what they were before, if nobody knows it now."""
        if not host:
            return ()
        try:
            return (ipaddress.ip_address(host),)
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            self._log.warning("name.unknown", host=host, error=str(error) or "no answer")
            return self._known.get(host, ())
        told = {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
        # Debian's /etc/hosts says 127.0.1.1 of the machine's own name: to a container, that is
        # the container, and DNS tells it the machine's address.
        told = {self._address if address.is_loopback else address for address in told}
        addresses = tuple(sorted(told, key=lambda a: (a.version, int(a))))
        if addresses != self._known.get(host):
            self._known[host] = addresses
            # Or an agent that starts while DNS is down would shut hubs out.
            known = {name: [str(each) for each in found] for name, found in self._known.items()}
            self._write(self._names, json.dumps(known))
        return addresses

    def _control(self) -> Iterable[str]:
        """Hosts that no notebook has any business with."""
        yield str(self._address)
        yield from self._told.nodes
        yield from self._told.control
        broker = urlsplit(self._settings.amqp_url.get_secret_value()).hostname
        if broker:
            yield broker

    async def _api(self, url: str) -> tuple[Target, ...]:
        host, port = host_and_port(url)
        # What hubs say opens doors: never to a cloud's metadata, whatever a name leads to.
        closed = [target.network for target in metadata()]
        found = [a for a in await self.look_up(host) if not any(a in each for each in closed)]
        return tuple(Target(network=of_address(one), ports=(port, port)) for one in found)

    def _write(self, file: Path, text: str) -> None:
        new = file.with_suffix(".new")
        try:
            with open(new, "w", encoding="utf-8") as out:
                out.write(text)
            os.replace(new, file)
        except OSError as error:
            self._log.warning("surroundings.not_kept", error=str(error))


def _read_names(file: Path) -> dict[str, tuple[Address, ...]]:
    """Empty without a file that can be read: names are looked up anyway."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): tuple(map(ipaddress.ip_address, told[name])) for name in told}
    except (OSError, ValueError, TypeError, LookupError):
        return {}


def host_and_port(url: str) -> tuple[str, int]:
    """Of a hub's API; host "" where that cannot be read: what a hub says must end no agent."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or PORTS.get(parts.scheme, 80)
    except ValueError:
        return "", 0


def _sorted(networks: Iterable[targets.Network]) -> tuple[targets.Network, ...]:
    found = set(networks)
    return tuple(sorted(found, key=lambda n: (n.version, int(n.network_address), n.prefixlen)))
