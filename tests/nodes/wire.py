"""Network namespaces joined by one wire, as hosts are by a switch.

hub, node1, node2    one address each on the wire, and no route to anywhere else
wire                 the switch: a bridge in a namespace of its own, so that no firewall rule
                     of this machine's engine comes in between
this machine         one address too: tests reach the proxy, and hub and agents RabbitMQ
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from scripts.stack import commands

HUB, NODES = "hub", ("node1", "node2")
HOUSES = (HUB, *NODES)
_SWITCH = "wire"
# Meant for tests between networks (RFC 2544): nobody's office has them.
RANGES = tuple(ipaddress.IPv4Network("198.18.0.0/15").subnets(new_prefix=24))
SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Wire:
    """`name`: at most 8 characters, and nobody else's; `network`: a /24."""

    name: str
    network: ipaddress.IPv4Network

    @property
    def machine(self) -> str:
        """The address of this machine on the wire."""
        return str(self.network[1])

    def address(self, house: str) -> str:
        return str(self.network[10 + HOUSES.index(house)])

    def namespace(self, house: str) -> str:
        return _namespace(self.name, house)

    def inside(self, house: str) -> tuple[str, ...]:
        """Words before a command that has to run there. Its files stay those of everybody."""
        return ("nsenter", f"--net=/run/netns/{self.namespace(house)}")

    def lay(self, log: Path) -> None:
        """Make the namespaces and join them. `Trouble` if the kernel refuses."""
        switch = self.namespace(_SWITCH)
        _ip(log, "netns", "add", switch)
        _ip(log, "-n", switch, "link", "add", "name", "switch", "type", "bridge")
        _ip(log, "-n", switch, "link", "set", "switch", "up")
        for house in HOUSES:
            namespace = self.namespace(house)
            _ip(log, "netns", "add", namespace)
            _ip(log, "-n", namespace, "link", "set", "lo", "up")
            _ip(log, "-n", namespace, "link", "add", "name", "uplink", *self._pair(house))
            self._plug(log, house, "uplink", ("-n", namespace))
        _ip(log, "link", "add", "name", _here(self.name), *self._pair("machine"))
        self._plug(log, "machine", _here(self.name), ())

    def _pair(self, house: str) -> tuple[str, ...]:
        return ("type", "veth", "peer", "name", house, "netns", self.namespace(_SWITCH))

    def _plug(self, log: Path, house: str, link: str, where: tuple[str, ...]) -> None:
        switch = self.namespace(_SWITCH)
        address = self.machine if house == "machine" else self.address(house)
        _ip(log, "-n", switch, "link", "set", house, "master", "switch", "up")
        _ip(log, *where, "addr", "add", f"{address}/{self.network.prefixlen}", "dev", link)
        _ip(log, *where, "link", "set", link, "up")


def remove(name: str) -> None:
    """Take away what is there of this wire; what runs inside should have ended before."""
    commands.read(["ip", "link", "delete", _here(name)])
    for house in (*HOUSES, _SWITCH):
        if (Path("/run/netns") / _namespace(name, house)).exists():
            commands.read(["ip", "netns", "delete", _namespace(name, house)])


def free_network() -> ipaddress.IPv4Network:
    """A range that no route of this machine touches."""
    told = json.loads(commands.read(["ip", "-j", "-4", "route", "show", "table", "all"]) or "[]")
    used = [
        ipaddress.IPv4Network(route["dst"], strict=False)
        for route in told
        if route["dst"] != "default"
    ]
    return next(free for free in RANGES if not any(free.overlaps(one) for one in used))


def _namespace(name: str, house: str) -> str:
    return f"grn{name}-{house}"


def _here(name: str) -> str:
    # The kernel limits names of interfaces to 15 characters.
    return f"grw{name}"


def _ip(log: Path, *words: str) -> None:
    commands.run(["ip", *words], log=log, timeout_seconds=SECONDS)
