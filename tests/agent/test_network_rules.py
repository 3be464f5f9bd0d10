"""From facts to rules, and what becomes of them: no kernel here."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from controlplane.errors import BadSettings, Refused, Unavailable
from controlplane.model import targets
from workers.agent.firewall import generation, iptables, nft, remove
from workers.agent.firewall.guard import Firewall
from workers.agent.firewall.policy import PRIVATE_4, PRIVATE_6, Policy, metadata

GOLDEN = Path(__file__).parent / "golden"

POLICY = Policy(
    name="0123456789",
    bridge="gr-0123456789",
    address=ipaddress.ip_address("192.0.2.7"),
    first_port=20_000,
    last_port=29_999,
    hubs=(targets.target("192.0.2.5:8081"), targets.target("[2001:db8::5]:8081")),
    dns=(ipaddress.ip_address("192.0.2.53"), ipaddress.ip_address("2001:db8::53")),
    never=(targets.target("169.254.0.0/16"), targets.target("fe80::/10")),
    egress=targets.egress("internet, 10.1.0.0/16:443, [fd00::/8]:5432-5440"),
    clients=targets.networks("192.0.2.5, 10.2.0.0/24, 2001:db8::5"),
)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("rules.nft", nft.replace(POLICY)),
        ("rules.iptables", iptables.replace(POLICY, 4, [])),
        ("rules.ip6tables", iptables.replace(POLICY, 6, [])),
    ],
)
def test_a_policy_gives_these_rules(file: str, text: str) -> None:
    """Read the file when this fails: it is what an admin will see."""
    assert text == (GOLDEN / file).read_text()


def test_removing_names_nothing_but_ours() -> None:
    chains = iptables.chains("0123456789")
    present = [
        ":INPUT ACCEPT [0:0]",
        f":{chains['host']} - [0:0]",
        ":GR-ffffffffff-HOST - [0:0]",
        f"-A INPUT -i gr-0123456789 -j {chains['host']}",
        "-A INPUT -i gr-ffffffffff -j GR-ffffffffff-HOST",
        "-A INPUT -p tcp -j ACCEPT",
        f"-A {chains['host']} -j RETURN",
    ]

    assert iptables.remove("0123456789", present).splitlines() == [
        "*filter",
        f":{chains['host']} - [0:0]",
        f"-D INPUT -i gr-0123456789 -j {chains['host']}",
        f"-X {chains['host']}",
        "COMMIT",
    ]
    assert iptables.remove("eeeeeeeeee", present) == ""


@pytest.mark.parametrize(
    ("before", "held"),
    [
        ([], True),
        (["-A FORWARD -i gr-ffffffffff -j GR-ffffffffff-OUT"], True),
        (["-A FORWARD -j DOCKER-USER"], False),
    ],
)
def test_a_jump_counts_only_while_nobody_else_s_rule_stands_before_it(
    before: list[str], held: bool
) -> None:
    jump = f"-A FORWARD -i gr-0123456789 -j {iptables.chains('0123456789')['out']}"

    assert iptables.ours("0123456789", [*before, jump]) == ([jump] if held else [])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::8a"])
def test_public_addresses_are_the_internet(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.31.255.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.169.254"),
        *("224.0.0.251", "255.255.255.255", "198.18.0.1", "192.0.0.192", "0.0.0.0"),
        *("::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::fb", "::ffff:10.0.0.1"),
        # IPv4 inside IPv6: 6to4, Teredo, NAT64 lead to private addresses as well.
        *("2002:a00:1::1", "2001:0:1::1", "64:ff9b::a00:1"),
    ],
)
def test_special_addresses_are_not_the_internet(address: str) -> None:
    assert is_private(address)


def is_private(text: str) -> bool:
    address = ipaddress.ip_address(text)
    of_version = PRIVATE_4 if address.version == 4 else PRIVATE_6
    return any(address in ipaddress.ip_network(one) for one in of_version)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254"]
)
def test_metadata_is_closed_whatever_the_allow_list_says(address: str) -> None:
    asked = ipaddress.ip_address(address)

    assert any(asked in one.network for one in metadata())


@dataclass
class Kernel:
    """A backend whose rules are in this object."""

    name: str = "kernel"
    rules: dict[str, Policy] = field(default_factory=dict)
    replaced: int = 0
    looked: int = 0
    changes: int | None = None
    error: BaseException | None = None

    async def replace(self, policy: Policy) -> None:
        if self.error:
            raise self.error
        self.replaced += 1
        self.rules[policy.name] = policy

    def generation(self) -> int | None:
        return self.changes

    async def held(self, name: str) -> str:
        self.looked += 1
        return str(self.rules.get(name, ""))

    async def remove(self, name: str) -> None:
        self.rules.pop(name, None)

    async def find(self) -> Kernel:
        return self


async def nothing_here() -> None:
    return None


async def broken() -> Kernel:
    raise Refused("nft: Operation not permitted")


async def test_the_same_rules_are_not_set_twice_and_other_ones_at_once() -> None:
    kernel = Kernel()
    firewall = Firewall("try", find=kernel.find)
    await firewall.open(POLICY)
    await firewall.change(POLICY)
    await firewall.look()
    once = kernel.replaced
    other = replace(POLICY, hubs=())
    await firewall.change(other)

    assert (once, kernel.replaced, kernel.rules[POLICY.name]) == (1, 2, other)


async def test_rules_that_are_gone_are_put_back_and_counted() -> None:
    kernel = Kernel()
    firewall = Firewall("try", find=kernel.find)
    await firewall.open(POLICY)
    before = repairs()
    await kernel.remove(POLICY.name)
    await firewall.look()

    assert kernel.rules[POLICY.name] == POLICY
    assert repairs() == before + 1
    assert firewall.in_place


async def test_while_nobody_changes_any_rule_no_program_is_started() -> None:
    kernel = Kernel(changes=1)
    firewall = Firewall("try", find=kernel.find)
    await firewall.open(POLICY)
    at_first = kernel.looked
    await firewall.look()
    quiet = kernel.looked
    # Somebody else's rule: looked at once, and quiet again.
    kernel.changes = 2
    await firewall.look()
    await firewall.look()
    after_one = kernel.looked
    # Ours.
    kernel.changes = 3
    await kernel.remove(POLICY.name)
    await firewall.look()

    assert (quiet, after_one) == (at_first, at_first + 1)
    assert kernel.rules[POLICY.name] == POLICY


def test_the_generation_is_read_out_of_the_kernel_s_answer() -> None:
    # As a kernel gave it: its number, then a pid and a name.
    pid = bytes.fromhex("0800 0200 0000 1234".replace(" ", ""))
    number = bytes.fromhex("0800 0100 0000 0b0d".replace(" ", ""))
    header = struct.pack("=IHHII", 20 + 16, 10 << 8 | 15, 0, 1, 0) + b"\0\0\0\0"

    assert generation.read(header + pid + number) == 0xB0D
    assert generation.read(header + pid) is None
    assert generation.read(struct.pack("=IHHII", 20, 2, 0, 1, 0) + b"\xff\xff\xff\xff") is None
    assert generation.read(b"") is None


@pytest.mark.parametrize("find", [nothing_here, broken])
async def test_without_a_way_to_set_rules_it_goes_on_and_says_what_is_missing(find: Any) -> None:
    firewall = Firewall("try", find=find)
    await firewall.open(POLICY)
    await firewall.look()

    assert not firewall.in_place
    assert firewall.missing
    assert firewall.may_offer


@pytest.mark.parametrize("find", [nothing_here, broken])
async def test_required_rules_that_cannot_be_set_stop_the_agent(find: Any) -> None:
    with pytest.raises(BadSettings, match=r'node\.firewall = "require"'):
        await Firewall("require", find=find).open(POLICY)


async def test_required_rules_that_cannot_be_put_back_take_the_node_out_of_offers() -> None:
    kernel = Kernel()
    firewall = Firewall("require", find=kernel.find)
    await firewall.open(POLICY)
    await kernel.remove(POLICY.name)
    kernel.error = Unavailable("nft did not answer")
    await firewall.look()
    without = firewall.may_offer
    kernel.error = None
    await firewall.look()

    assert (without, firewall.may_offer) == (False, True)


async def test_rules_whose_change_was_interrupted_are_set_at_the_next_look() -> None:
    kernel = Kernel()
    firewall = Firewall("try", find=kernel.find)
    await firewall.open(POLICY)
    other = replace(POLICY, hubs=())
    kernel.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await firewall.change(other)
    kernel.error = None
    interrupted = firewall.in_place

    await firewall.look()

    assert not interrupted
    assert kernel.rules[POLICY.name] == other
    assert firewall.in_place


async def test_a_firewall_that_is_off_sets_nothing_and_leaves_no_older_rules_of_its_node() -> None:
    others = replace(POLICY, name="another")
    kernel = Kernel(rules={POLICY.name: POLICY, "another": others})
    firewall = Firewall("off", find=kernel.find)
    await firewall.open(POLICY)
    await firewall.look()

    assert (kernel.replaced, firewall.in_place, firewall.may_offer) == (0, False, True)
    assert kernel.rules == {"another": others}


@pytest.mark.parametrize("find", [nothing_here, broken])
async def test_a_firewall_that_is_off_needs_no_right_to_look_at_rules(find: Any) -> None:
    firewall = Firewall("off", find=find)
    await firewall.open(POLICY)

    assert firewall.may_offer


async def test_rules_of_iptables_are_taken_away_also_where_nft_is_there_and_its_kernel_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = iptables.chains(POLICY.name)["host"]
    program(tmp_path / "nft", "echo 'Protocol not supported' >&2; exit 1")
    program(tmp_path / "iptables-save", f"echo ':{chain} - [0:0]'")
    program(tmp_path / "iptables-restore", f"cat > {tmp_path}/said")
    # No other program of the system's is found; these need no path to what they use.
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(iptables, "PROGRAMS", {4: "iptables"})
    program(tmp_path / "iptables", "")

    await remove(POLICY.bridge)

    assert f"-X {chain}" in (tmp_path / "said").read_text()


def program(file: Path, does: str) -> None:
    file.write_text(f"#!/bin/sh\n{does}\n")
    file.chmod(0o755)


def repairs() -> float:
    return REGISTRY.get_sample_value("greenroom_node_firewall_repairs_total") or 0.0
