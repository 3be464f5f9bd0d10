"""Where a packet may go, as an admin writes it: addresses, ranges and ports. Pure.

10.0.0.5          every port of one address
10.1.0.0/16:443   one port of a range
10.1.2.3:5432-5440
[fd00::/8]:443    IPv6 with a port stands in brackets
internet          every public address
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
INTERNET = "internet"
NOTHING = "none"

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A range of addresses and, if `ports` is given (first, last), only those TCP ports."""

    network: Network
    ports: tuple[int, int] | None = None

    @property
    def key(self) -> tuple[int, int, int, tuple[int, int]]:
        """Orders targets: IPv4 first, then by address."""
        first = int(self.network.network_address)
        return (self.network.version, first, self.network.prefixlen, self.ports or (0, 0))


@dataclass(frozen=True, kw_only=True)
class Egress:
    """What notebooks may reach besides the hub and DNS."""

    internet: bool
    targets: tuple[Target, ...] = ()


def egress(text: str) -> Egress:
    """From `internet`, `none` or a list with commas. `ValueError` names the part that is wrong."""
    parts = list(words(text))
    if NOTHING in parts and len(parts) > 1:
        raise ValueError(f"{text!r} says {NOTHING!r} and more: leave one of them out")
    targets = [target(part) for part in parts if part not in (INTERNET, NOTHING)]
    return Egress(internet=INTERNET in parts, targets=tuple(targets))


def targets(text: str) -> tuple[Target, ...]:
    """From a list with commas."""
    return tuple(target(part) for part in words(text))


def target(text: str) -> Target:
    """One of them."""
    host, ports = _split(text)
    found = _PORTS.fullmatch(ports) if ports else None
    if ports and found is None:
        raise ValueError(f"{text!r}: {ports!r} is no port: write 443 or 5432-5440")
    if found is None:
        return Target(network=network(host))
    first, last = int(found[1]), int(found[2] or found[1])
    if not 1 <= first <= last <= 65_535:
        raise ValueError(f"{text!r}: ports go from 1 to 65535, the smaller one first")
    return Target(network=network(host), ports=(first, last))


def networks(text: str) -> tuple[Network, ...]:
    """Ranges or addresses, from a list with commas."""
    return tuple(network(part) for part in words(text))


def addresses(text: str) -> tuple[Address, ...]:
    """Single addresses, from a list with commas."""
    try:
        return tuple(ipaddress.ip_address(part) for part in words(text))
    except ValueError as error:
        raise ValueError(f"{error}: write addresses, with commas between them") from None


def network(text: str) -> Network:
    """A range such as 10.1.0.0/16, or one address."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither an address nor a range: write 10.0.0.5, 10.1.0.0/16 or "
            "fd00::/8; names are not looked up"
        ) from None


def of_address(address: Address) -> Network:
    """The range that holds this address alone."""
    return ipaddress.ip_network(address)


def words(text: str) -> Iterable[str]:
    """The parts of a list with commas."""
    return (part.strip() for part in text.split(",") if part.strip())


def _split(text: str) -> tuple[str, str]:
    """Host and ports, the latter "" without any."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        return (host, rest.removeprefix(":")) if bracket else (text, "")
    host, colon, ports = text.rpartition(":")
    # More than one colon is an IPv6 address without a port.
    return (host, ports) if colon and ":" not in host else (text, "")
