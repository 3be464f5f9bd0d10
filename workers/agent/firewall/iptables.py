"""A policy as chains of iptables and ip6tables, where there is no nftables. Pure.

Four chains of our own and a jump to each, before all other rules of INPUT and FORWARD: the
engine puts its own in front when it starts, and would let everything out. Published ports are
recognised by the destination before DNAT, which conntrack remembers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.model.targets import Target, of_address
from workers.agent.firewall.policy import Policy, private

PROGRAMS = {4: "iptables", 6: "ip6tables"}
_ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
_PASS = "-j RETURN"
_RESET = "-p tcp -j REJECT --reject-with tcp-reset"
_REFUSE = {
    4: "-j REJECT --reject-with icmp-admin-prohibited",
    6: "-j REJECT --reject-with icmp6-adm-prohibited",
}
_NEIGHBOURS = ("router-solicitation", "neighbour-solicitation", "neighbour-advertisement")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """One family's: the chains, and what jumps to them as (chain of the kernel, rule)."""

    chains: dict[str, list[str]]
    jumps: list[tuple[str, str]]


def chains(name: str) -> dict[str, str]:
    """The names of our chains, by what they are for."""
    return {what: f"GR-{name}-{what.upper()}" for what in ("host", "out", "port", "in")}


def rules(policy: Policy, version: int) -> Rules:
    """IPv4's or IPv6's half."""
    named = chains(policy.name)
    from_bridge, to_bridge = f"-i {policy.bridge}", f"-o {policy.bridge}"
    published = f"! -i lo -p tcp -m tcp --dport {policy.first_port}:{policy.last_port}"
    jumps = [("INPUT", f"{from_bridge} -j {named['host']}")]
    if policy.address.version == version:
        port = f"-d {of_address(policy.address)} {published} -j {named['port']}"
        jumps.append(("INPUT", port))
    jumps += [
        ("FORWARD", f"{from_bridge} -j {named['out']}"),
        ("FORWARD", f"{to_bridge} -j {named['in']}"),
    ]
    filled = {
        named["host"]: _host(policy, version),
        named["out"]: _out(policy, version),
        named["port"]: _entering(policy, version),
        named["in"]: _in(policy, version),
    }
    return Rules(chains=filled, jumps=jumps)


def replace(policy: Policy, version: int, present: Sequence[str]) -> str:
    """One transaction for iptables-restore. `present`: the lines of iptables-save now."""
    wanted = rules(policy, version)
    lines = ["*filter", *(f":{chain} - [0:0]" for chain in wanted.chains)]
    lines += _old_jumps(policy.name, present)
    for chain, filling in wanted.chains.items():
        lines += [f"-A {chain} {rule}" for rule in filling]
    # Each goes to the top, so the last one first.
    lines += [f"-I {where} 1 {jump}" for where, jump in reversed(wanted.jumps)]
    return "\n".join([*lines, "COMMIT", ""])


def remove(name: str, present: Sequence[str]) -> str:
    """The same, to take everything away; "" where nothing is there."""
    there = [chain for chain in chains(name).values() if any(_declares(chain, p) for p in present)]
    if not there:
        return ""
    # Listed, they are emptied; only empty chains can go.
    emptied = [f":{chain} - [0:0]" for chain in there]
    gone = [f"-X {chain}" for chain in there]
    return "\n".join(["*filter", *emptied, *_old_jumps(name, present), *gone, "COMMIT", ""])


def ours(name: str, present: Sequence[str]) -> list[str]:
    """What of iptables-save is ours, with our jumps only as far as nothing stands before them."""
    named = set(chains(name).values())
    found = []
    open_for = {"INPUT": True, "FORWARD": True}
    for line in present:
        words = line.split()
        if words[:1] != ["-A"]:
            continue
        if words[1] in named:
            found.append(line)
        elif words[1] in open_for:
            # Those of another node of ours on this machine may stand before them.
            open_for[words[1]] &= words[-1].startswith("GR-")
            if open_for[words[1]] and words[-1] in named:
                found.append(line)
    return found


def _old_jumps(name: str, present: Sequence[str]) -> list[str]:
    named = set(chains(name).values())
    rules = [line.split() for line in present if line.startswith("-A ")]
    return [
        " ".join(["-D", *words[1:]])
        for words in rules
        if words[-1] in named and words[1] not in named
    ]


def _declares(chain: str, line: str) -> bool:
    return line.startswith(f":{chain} ")


def _host(policy: Policy, version: int) -> list[str]:
    """From a notebook to the node itself."""
    return [*_always(policy, version), *_refuse(version)]


def _out(policy: Policy, version: int) -> list[str]:
    """From a notebook to anywhere else."""
    egress = policy.egress
    found = _always(policy, version)
    # What was sent to a port of this node is none of the internet, whoever has the port.
    found += _refuse(version, "-m conntrack --ctstate DNAT ")
    for one in _of(policy.never, version):
        found += _refuse(version, f"{_to(one)} ")
    found += [f"{_to(one)} {_PASS}" for one in _of(egress.targets, version)]
    if egress.internet:
        for network in private(version):
            found += _refuse(version, f"-d {network} ")
        return found
    return [*found, *_refuse(version)]


def _always(policy: Policy, version: int) -> list[str]:
    found = [_ESTABLISHED]
    if version == 6:
        found += [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} {_PASS}" for kind in _NEIGHBOURS]
    for hub in _of(policy.hubs, version):
        found.append(f"{_original(hub)} {_PASS}")
    for server in policy.dns:
        if server.version == version:
            found += [f"-d {of_address(server)} -p {p} --dport 53 {_PASS}" for p in ("udp", "tcp")]
    return found


def _entering(policy: Policy, version: int) -> list[str]:
    """To a published port, before or after DNAT."""
    if policy.clients is None:
        return [_PASS]
    known = [f"-s {one} {_PASS}" for one in policy.clients if one.version == version]
    return [_ESTABLISHED, *known, *_refuse(version)]


def _in(policy: Policy, version: int) -> list[str]:
    """To the bridge: no neighbour, and nobody who knows a route to it."""
    return [
        _ESTABLISHED,
        *_refuse(version, "-m conntrack ! --ctstate DNAT "),
        *_entering(policy, version),
    ]


def _refuse(version: int, what: str = "") -> list[str]:
    return [f"{what}{_RESET}", f"{what}{_REFUSE[version]}"]


def _of(targets: Iterable[Target], version: int) -> list[Target]:
    return [one for one in targets if one.network.version == version]


def _to(target: Target) -> str:
    if target.ports is None:
        return f"-d {target.network}"
    return f"-d {target.network} -p tcp --dport {target.ports[0]}:{target.ports[1]}"


def _original(target: Target) -> str:
    """As it was asked for, whatever DNAT made of it."""
    if target.ports is None:
        return f"-m conntrack --ctorigdst {target.network}"
    first, last = target.ports
    ports = str(first) if first == last else f"{first}:{last}"
    return f"-p tcp -m conntrack --ctorigdst {target.network} --ctorigdstport {ports}"
