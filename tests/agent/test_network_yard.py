"""The rules as the kernel keeps them: from inside notebooks, from neighbours, from outside."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from controlplane.model import targets
from tests.agent import yard as place
from tests.agent.yard import (
    ADDRESSES,
    API,
    BRIDGE,
    BROKER,
    DNS,
    FIRST_PORT,
    LAST_PORT,
    NOTEBOOK,
    OTHER,
    PUBLISHED,
    Yard,
)
from workers.agent.firewall import Policy, generation
from workers.agent.firewall.backend import Backend, Iptables, Nft
from workers.agent.firewall.guard import Firewall
from workers.agent.firewall.policy import metadata, tidy, whole

pytestmark = pytest.mark.engine

BACKENDS: dict[str, type[Nft | Iptables]] = {"nft": Nft, "iptables": Iptables}
NAME = BRIDGE.removeprefix("gr-")
REFUSED = {"ECONNREFUSED", "EACCES", "EHOSTUNREACH"}


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [p for p in ("ip", "nft", "iptables-restore") if not shutil.which(p, path=path)]
    why = "needs root" if os.geteuid() != 0 else f"needs {', '.join(missing)}" if missing else ""
    if why and os.environ.get("CI"):
        pytest.fail(f"a yard of namespaces {why}, and CI skips nothing")
    if why:
        pytest.skip(f"a yard of namespaces {why}")
    with place.laid() as laid:
        yield laid


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, yard: Yard) -> Iterator[Backend]:
    found: Backend = BACKENDS[request.param]()
    yield found
    yard.live("node", lambda: found.remove(NAME))


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def policy(version: int, **changes: object) -> Policy:
    """What an agent of this node would want, with the broker on the hub's machine."""
    known = {name: ipaddress.ip_address(text) for name, text in ADDRESSES[version].items()}
    given = Policy(
        name=NAME,
        bridge=BRIDGE,
        address=known["node"],
        first_port=FIRST_PORT,
        last_port=LAST_PORT,
        hubs=(targets.Target(network=targets.of_address(known["hub"]), ports=(API, API)),),
        dns=(known["world"],),
        never=tidy([*metadata(), *whole([known["hub"], known["node"]])]),
        egress=targets.egress("internet"),
        clients=(targets.of_address(known["hub"]),),
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def of_a_notebook(version: int) -> dict[str, tuple[str, int]]:
    """Every way that a notebook may try."""
    at = ADDRESSES[version]
    return {
        "hub's API": (at["hub"], API),
        "DNS": (at["world"], DNS),
        "a public address": (at["public"], OTHER),
        "the broker on the hub's machine": (at["hub"], BROKER),
        "another port of the hub's machine": (at["hub"], OTHER),
        "the node by its address": (at["node"], OTHER),
        "the node by the gateway": (at["gateway"], OTHER),
        "the engine's port on the node": (at["node"], API),
        "the neighbour": (at["two"], NOTEBOOK),
        "the neighbour's port on the node": (at["node"], PUBLISHED["two"]),
        "the neighbour's port by the gateway": (at["gateway"], PUBLISHED["two"]),
        "metadata": (at["metadata"], OTHER),
        "DNS's port at the metadata address": (at["metadata"], DNS),
        "a private address": (at["private"], OTHER),
        "another port of the DNS server": (at["world"], OTHER),
        "somebody on the node's network": (at["outsider"], OTHER),
    }


OPEN = {"hub's API", "DNS", "a public address"}


def reached(yard: Yard, house: str, places: dict[str, tuple[str, int]]) -> set[str]:
    """What connects. The rest has to be refused at once: nobody waits for a silent packet."""
    said = dict(zip(places, yard.reach(house, places.values()), strict=True))
    assert set(said.values()) <= {"yes", *REFUSED}, said
    return {name for name, answer in said.items() if answer == "yes"}


def put(yard: Yard, backend: Backend, wanted: Policy) -> None:
    yard.live("node", lambda: backend.replace(wanted))


def test_without_rules_a_notebook_reaches_everything(yard: Yard, version: int) -> None:
    ways = of_a_notebook(version)

    assert reached(yard, "one", ways) == set(ways)


def test_a_notebook_reaches_the_hub_s_api_dns_and_the_internet_and_nothing_else(
    yard: Yard, backend: Backend, version: int
) -> None:
    put(yard, backend, policy(version))

    assert reached(yard, "one", of_a_notebook(version)) == OPEN
    assert yard.ask("one", ADDRESSES[version]["world"], DNS) == "an answer"


def test_without_egress_only_the_hub_s_api_and_dns_are_left(
    yard: Yard, backend: Backend, version: int
) -> None:
    put(yard, backend, policy(version, egress=targets.egress("none")))

    assert reached(yard, "one", of_a_notebook(version)) == OPEN - {"a public address"}


def test_an_allow_list_opens_what_it_names_and_never_what_is_always_closed(
    yard: Yard, backend: Backend, version: int
) -> None:
    at = ADDRESSES[version]
    everything = "0.0.0.0/0" if version == 4 else "::/0"
    one_port = f"[{at['private']}]:{OTHER}" if version == 6 else f"{at['private']}:{OTHER}"
    put(yard, backend, policy(version, egress=targets.egress(one_port)))
    named = reached(yard, "one", of_a_notebook(version))
    put(yard, backend, policy(version, egress=targets.egress(everything)))
    all_of_it = reached(yard, "one", of_a_notebook(version))

    assert named == {"hub's API", "DNS", "a private address"}
    assert all_of_it == OPEN | {
        "a private address",
        "another port of the DNS server",
        "somebody on the node's network",
    }


@pytest.fixture
def hairpin(yard: Yard) -> Iterator[None]:
    yard.without_proxy()
    yield
    yard.with_proxy()


@pytest.mark.usefixtures("hairpin")
def test_an_engine_without_a_proxy_takes_nobody_to_a_neighbour(
    yard: Yard, backend: Backend, version: int
) -> None:
    at = ADDRESSES[version]
    before = yard.who("one", at["node"], PUBLISHED["two"])
    everything = "0.0.0.0/0" if version == 4 else "::/0"
    put(yard, backend, policy(version, egress=targets.egress(everything), clients=None))

    assert before == "two"
    # With iptables the refusal itself goes astray here: on a bridge it is sent past NAT.
    assert yard.reach("one", [(at["node"], PUBLISHED["two"])], seconds=3) != ["yes"]


def test_only_the_hub_reaches_a_notebook_and_only_where_it_is_published(
    yard: Yard, backend: Backend, version: int
) -> None:
    at = ADDRESSES[version]
    ways = {
        "its port on the node": (at["node"], PUBLISHED["one"]),
        "its own address": (at["one"], NOTEBOOK),
        "another port of it": (at["one"], OTHER),
    }
    before = {house: reached(yard, house, ways) for house in ("hub", "outsider")}
    put(yard, backend, policy(version))
    after = {house: reached(yard, house, ways) for house in ("hub", "outsider")}
    from_node = reached(yard, "node", ways)

    assert before == {"hub": set(ways), "outsider": set(ways)}
    assert after == {"hub": {"its port on the node"}, "outsider": set()}
    # The agent's own probes, and a hub and a proxy on this machine.
    assert from_node == set(ways)


def test_a_proxy_elsewhere_is_let_in_by_setting(yard: Yard, backend: Backend, version: int) -> None:
    at = ADDRESSES[version]
    published = {"its port on the node": (at["node"], PUBLISHED["one"])}
    put(yard, backend, policy(version, clients=targets.networks(at["outsider"])))

    assert reached(yard, "outsider", published) == set(published)
    assert reached(yard, "hub", published) == set()


def test_where_the_node_cannot_tell_who_comes_everybody_is_let_in(
    yard: Yard, backend: Backend, version: int
) -> None:
    published = {"its port on the node": (ADDRESSES[version]["node"], PUBLISHED["one"])}
    put(yard, backend, policy(version, clients=None))

    assert reached(yard, "outsider", published) == set(published)
    assert reached(yard, "one", of_a_notebook(version)) == OPEN


def test_rules_are_replaced_taken_away_and_nothing_of_the_site_s_is_touched(
    yard: Yard, backend: Backend
) -> None:
    before = rules(yard)
    put(yard, backend, policy(4))
    first = yard.live("node", lambda: backend.held(NAME))
    put(yard, backend, policy(4, egress=targets.egress("none")))
    second = yard.live("node", lambda: backend.held(NAME))
    put(yard, backend, policy(4))
    third = yard.live("node", lambda: backend.held(NAME))
    with_ours = rules(yard)
    yard.live("node", lambda: backend.remove(NAME))
    yard.live("node", lambda: backend.remove(NAME))
    after = rules(yard)
    nothing = yard.live("node", lambda: backend.held(NAME))

    assert first == third != second
    assert with_ours != before
    assert without_ours(with_ours) == without_ours(before)
    assert without_ours(after) == without_ours(before)
    assert (nothing, [line for line in after if mine(line)]) == ("", [])


async def test_rules_that_somebody_takes_away_come_back(yard: Yard, backend: Backend) -> None:
    firewall = Firewall("require", find=found(backend))
    ways = of_a_notebook(4)

    async def live() -> tuple[bool, str]:
        await firewall.open(policy(4))
        before = await backend.held(NAME)
        await backend.remove(NAME)
        gone = reached(yard, "one", ways) == set(ways)
        await firewall.look()
        assert await backend.held(NAME) == before
        return gone, before

    gone, _ = await asyncio.to_thread(yard.live, "node", live)

    assert gone
    assert firewall.in_place
    assert reached(yard, "one", ways) == OPEN


def test_the_engine_s_rules_in_front_of_ours_are_overtaken(yard: Yard) -> None:
    backend = Iptables()
    firewall = Firewall("try", find=found(backend))
    engine = f"*filter\n-I FORWARD 1 -i {BRIDGE} ! -o {BRIDGE} -j ACCEPT\nCOMMIT\n"
    off = f"*filter\n-D FORWARD -i {BRIDGE} ! -o {BRIDGE} -j ACCEPT\nCOMMIT\n"

    async def live() -> tuple[set[str], set[str]]:
        await firewall.open(policy(4))
        yard.inside("node", "iptables-restore", "--noflush", say=engine)
        open_now = reached(yard, "one", of_a_notebook(4))
        await firewall.look()
        return open_now, reached(yard, "one", of_a_notebook(4))

    try:
        open_now, closed_again = yard.live("node", live)
    finally:
        yard.inside("node", "iptables-restore", "--noflush", say=off)
        yard.live("node", lambda: backend.remove(NAME))

    assert "metadata" in open_now
    assert closed_again == OPEN


def test_the_kernel_s_generation_counts_every_change_of_anybody(yard: Yard) -> None:
    async def live() -> list[int | None]:
        seen = [generation.current(), generation.current()]
        yard.inside("node", "nft", "add", "table", "inet", "somebody_s")
        seen.append(generation.current())
        yard.inside("node", "iptables", "-N", "SOMEBODY")
        seen.append(generation.current())
        yard.inside("node", "iptables", "-X", "SOMEBODY")
        yard.inside("node", "nft", "delete", "table", "inet", "somebody_s")
        return seen

    first, again, with_table, with_chain = yard.live("node", live)

    assert first is not None
    assert again == first
    assert len({first, with_table, with_chain}) == 3


def found(backend: Backend) -> Callable[[], Awaitable[Backend]]:
    async def find() -> Backend:
        return backend

    return find


def rules(yard: Yard) -> list[str]:
    """Everything: the site's own with nft and with iptables, the engine's, ours."""
    return yard.inside("node", "nft", "-s", "list", "ruleset").splitlines()


def mine(line: str) -> bool:
    return f"greenroom_{NAME}" in line or f"GR-{NAME}" in line


def without_ours(lines: list[str]) -> str:
    """The ruleset without what carries our name."""
    kept = []
    depth = 0
    for line in lines:
        if depth == 0 and mine(line) and line.rstrip().endswith("{"):
            depth = 1
            continue
        if depth:
            depth += line.count("{") - line.count("}")
            continue
        if line.strip() and not mine(line):
            kept.append(line.strip())
    return "\n".join(kept)
