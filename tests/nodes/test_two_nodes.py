"""Notebooks of two nodes behind one hub that knows the nodes' addresses and nothing else."""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.parse import urlsplit

import pytest

from controlplane.model import LeasePhase
from scripts.stack import proof
from tests.nodes.street import Street
from tests.nodes.wire import HUB, NODES

pytestmark = [pytest.mark.engine, pytest.mark.hub, pytest.mark.services]

NOTEBOOK_PORT = 8888
CONNECT = """
import errno, socket, sys
with socket.socket() as probe:
    probe.settimeout(20)
    code = probe.connect_ex((sys.argv[1], int(sys.argv[2])))
print(errno.errorcode.get(code, "connected"))
"""


async def test_notebooks_of_both_nodes_serve_where_the_hub_has_no_route_to_any_bridge(
    street: Street,
) -> None:
    # No third notebook: the second person has to get the other node's.
    street.apply_pool(maximum=2)
    await street.until_offered(*NODES)
    async with street.visit("ann") as ann, street.visit("bob") as bob:
        await asyncio.gather(ann.click(), bob.click())
        results = [await follow_and_run(visit, "1+1") for visit in (ann, bob)]
        leases = [await street.lease_of(visit.user) for visit in (ann, bob)]
        reached = {lease.node: reach_published(street, str(lease.url)) for lease in leases}
        behind = {node: street.on_bridges(node) for node in NODES}
        from_node = {node: reach_all(street, node, behind[node]) for node in NODES}
        from_hub = {node: reach_all(street, HUB, behind[node]) for node in NODES}
        routes = json.loads(street.inside(HUB, "ip", "-j", "route"))

    assert results == ["2", "2"]
    assert reached == dict.fromkeys(NODES, "connected")
    # The hub's answer means something: these are addresses that answer whoever has a route.
    assert from_node == {node: {"connected"} for node in NODES}
    assert from_hub == {node: {"ENETUNREACH"} for node in NODES}
    assert [route["dst"] for route in routes] == [str(street.wire.network)]
    hosts = {lease.node: urlsplit(str(lease.url)).hostname for lease in leases}
    assert hosts == {node: street.wire.address(node) for node in NODES}


async def test_a_silent_agents_warm_notebook_is_offered_to_nobody_and_its_lease_serves_on(
    street: Street,
) -> None:
    street.apply_pool(maximum=6)
    await street.until_offered(*NODES)
    async with street.visit("cas") as cas, street.visit("dot") as dot, street.visit("eli") as eli:
        await cas.click()
        await cas.follow()
        kernel = await cas.start_kernel()
        before = await street.lease_of("cas")
        silent = str(before.node)
        (other,) = set(NODES) - {silent}
        await street.until_offered(*NODES)
        warm = await street.warm_on(silent)
        async with street.without_agent(silent):
            offered = await street.offered()
            # Two people, where one notebook is warm: the second gets the same node's next.
            await asyncio.gather(dot.click(), eli.click())
            results = [await follow_and_run(visit, "1+1") for visit in (dot, eli)]
            given = {(await street.lease_of(visit.user)).node for visit in (dot, eli)}
            meanwhile = await run(cas, kernel, "6*7")
            after = await street.lease_of("cas")
            still_warm = await street.warm_on(silent)
        # The next agent finds everything again, the warm notebook included.
        await street.until_offered(*NODES)
        again = await run(cas, kernel, "6*8")

    assert offered == [other]
    assert results == ["2", "2"]
    assert given == {other}
    # Not even tried: an order to a silent node would have used it up.
    assert still_warm == warm
    assert (meanwhile, again) == ("42", "48")
    assert (after.lease, after.phase, after.notebook) == (
        before.lease,
        LeasePhase.SERVING,
        before.notebook,
    )


async def follow_and_run(visit: proof.Visit, code: str) -> str:
    """Wait for the server, then run this in a kernel of its own, through the proxy."""
    await visit.follow()
    return await run(visit, await visit.start_kernel(), code)


async def run(visit: proof.Visit, kernel: str, code: str) -> str:
    _, result = await proof.run_code(visit, kernel, code, clock=proof.Stopwatch())
    return result


def reach_published(street: Street, url: str) -> str:
    """What the hub's machine gets at a notebook's published port."""
    place = urlsplit(url)
    return connect(street, HUB, str(place.hostname), place.port or 80)


def reach_all(street: Street, house: str, addresses: list[str]) -> set[str]:
    return {connect(street, house, address, NOTEBOOK_PORT) for address in addresses}


def connect(street: Street, house: str, host: str, port: int) -> str:
    """`connected`, or the kernel's word for why not."""
    return street.inside(house, sys.executable, "-c", CONNECT, host, str(port)).strip()
