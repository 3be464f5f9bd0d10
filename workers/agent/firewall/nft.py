"""A policy as a table of nftables. Pure.

The table is Greenroom's own and hooks in before everybody else's, so nothing of the site's or
the engine's is read or changed, IPv4 and IPv6 are one, and the kernel swaps the whole table at
once. What it accepts, the others may still refuse.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.targets import Network, Target
from workers.agent.firewall.policy import Policy, private

# Before DNAT, so that a published port is seen as it was asked for, and after conntrack.
BEFORE_DNAT = -150
BEFORE_FILTERS = -10
FAMILY = {4: "ip", 6: "ip6"}


def table(name: str) -> str:
    """The table's name, which is all that removing it needs."""
    return f"inet greenroom_{name}"


def replace(policy: Policy) -> str:
    """One transaction: whatever table of this name there was, now it is this one."""
    # Adding first: deleting a table that is not there would be an error.
    ours = table(policy.name)
    return f"table {ours}\ndelete table {ours}\ntable {ours} {{\n{_chains(policy)}}}\n"


def remove(name: str) -> str:
    """One transaction: there is no table of this name any more."""
    return f"table {table(name)}\ndelete table {table(name)}\n"


def _chains(policy: Policy) -> str:
    chains = {
        "arriving": _arriving(policy),
        "crossing": _crossing(policy),
        "leaving": _leaving(policy),
        "entering": _entering(policy),
        "refused": [
            "meta l4proto tcp counter reject with tcp reset",
            "counter reject with icmpx admin-prohibited",
        ],
    }
    return "".join(
        f"\tchain {name} {{\n" + "".join(f"\t\t{rule}\n" for rule in rules) + "\t}\n"
        for name, rules in chains.items()
    )


def _arriving(policy: Policy) -> list[str]:
    published = f"tcp dport {policy.first_port}-{policy.last_port}"
    return [
        f"type filter hook prerouting priority {BEFORE_DNAT}; policy accept;",
        f'iifname "{policy.bridge}" jump leaving',
        f'iifname != {{ "lo", "{policy.bridge}" }} {_to(policy.address.version)} '
        f"{policy.address} {published} jump entering",
    ]


def _crossing(policy: Policy) -> list[str]:
    """The bridge itself: no neighbour, and nobody who knows a route to it."""
    out = f'oifname "{policy.bridge}"'
    return [
        f"type filter hook forward priority {BEFORE_FILTERS}; policy accept;",
        f"{out} ct state established,related accept",
        f"{out} ct status dnat accept",
        f"{out} goto refused",
    ]


def _leaving(policy: Policy) -> list[str]:
    egress = policy.egress
    rules = [
        "ct state established,related accept",
        # How an IPv6 host finds its gateway; it leaves the bridge with nothing else.
        "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
        *_targets(policy.hubs, "accept"),
        *(
            f"{_to(server.version)} {server} meta l4proto {{ tcp, udp }} th dport 53 accept"
            for server in policy.dns
        ),
        "fib daddr type { local, broadcast, anycast, multicast } goto refused",
        *_targets(policy.never, "goto refused"),
        *_targets(egress.targets, "accept"),
    ]
    if not egress.internet:
        return [*rules, "goto refused"]
    closed = [f"{_to(v)} {_set(private(v))} goto refused" for v in (4, 6)]
    return [*rules, *closed]


def _entering(policy: Policy) -> list[str]:
    if policy.clients is None:
        return ["accept"]
    return [
        "ct state established,related accept",
        *(f"{FAMILY[one.version]} saddr {_short(one)} accept" for one in policy.clients),
        "goto refused",
    ]


def _targets(targets: Iterable[Target], verdict: str) -> list[str]:
    return [
        f"{_to(one.network.version)} {_short(one.network)}{_ports(one)} {verdict}"
        for one in targets
    ]


def _ports(target: Target) -> str:
    if target.ports is None:
        return ""
    first, last = target.ports
    return f" tcp dport {first}" if first == last else f" tcp dport {first}-{last}"


def _to(version: int) -> str:
    return f"{FAMILY[version]} daddr"


def _set(networks: Iterable[Network]) -> str:
    return "{ " + ", ".join(str(one) for one in networks) + " }"


def _short(network: Network) -> str:
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)
