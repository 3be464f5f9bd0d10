"""What may pass between notebooks and everything else, as a value. Pure.

In this order, for a packet that comes from a notebook and belongs to no connection yet:

    a hub's API                                   yes
    DNS, at the node's own servers                yes
    the node itself, broadcast, multicast         no
    never: metadata, control plane, other nodes   no
    what `node.egress` lists                      yes
    a public address, with `internet`             yes
    anything else                                 no

And to a notebook: answers, and from hubs and proxies to the published ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.model.targets import Address, Egress, Network, Target, of_address

# Whoever reads a cloud's metadata can become the machine. All of link-local is closed: the
# usual address is in it, and nothing that a notebook needs.
METADATA = (
    "169.254.0.0/16",  # most clouds; the container credentials of AWS
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",  # Azure's host
    "192.0.0.192/32",  # Oracle, first generation
    "fe80::/10",
    "fd00:ec2::/32",  # AWS
    "fd20:ce::254/128",  # Google
    "fd00:42::42/128",  # Scaleway
    "fd00:c1::a9fe:a9fe/128",  # Oracle
)
# Not on the internet: IANA's registries of special purpose addresses.
PRIVATE_4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)
# Of IPv6 only 2000::/3 is the internet; what in it carries IPv4 addresses is not.
PRIVATE_6 = (
    "::/3",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "4000::/2",
    "8000::/1",
)


THE_INTERNET = Egress(internet=True)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One node's rules. `name`: the hash in the name of its bridge, unique on the machine.

    hubs      addresses and ports of hubs' APIs
    dns       servers that notebooks may ask on port 53
    never     closed whatever `egress` says
    clients   who may open connections to published ports, or None: the node cannot tell
              (a rootless engine's ports are opened elsewhere, and everybody comes as one)
    """

    name: str
    bridge: str
    address: Address
    first_port: int
    last_port: int
    hubs: tuple[Target, ...] = ()
    dns: tuple[Address, ...] = ()
    never: tuple[Target, ...] = ()
    egress: Egress = THE_INTERNET
    clients: tuple[Network, ...] | None = ()


def metadata() -> tuple[Target, ...]:
    """Closed to every notebook."""
    return tuple(Target(network=ipaddress.ip_network(text)) for text in METADATA)


def private(version: int) -> tuple[Network, ...]:
    """What of IPv4 or IPv6 is not the internet."""
    return tuple(ipaddress.ip_network(t) for t in (PRIVATE_4 if version == 4 else PRIVATE_6))


def whole(addresses: Iterable[Address]) -> tuple[Target, ...]:
    """Every port of these."""
    return tuple(Target(network=of_address(address)) for address in addresses)


def tidy(found: Iterable[Target]) -> tuple[Target, ...]:
    """Each once, in order: the same facts give the same rules."""
    return tuple(sorted(set(found), key=lambda each: each.key))
