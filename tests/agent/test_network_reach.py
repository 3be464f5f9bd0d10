"""Probes of hubs, from inside a notebook's network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.clients.docker.engine import Seen
from controlplane.messages import NodeSurroundings
from controlplane.settings import NodeSettings, Settings
from tests.agent.test_network_yard import NAME, policy, put, yard
from tests.agent.yard import ADDRESSES, API, BRIDGE, Yard
from workers.agent import reach
from workers.agent.firewall.backend import Nft
from workers.agent.reach import FAILURES, OutOfReach, Reach
from workers.agent.surroundings import Surroundings

pytestmark = pytest.mark.engine

__all__ = ["yard"]  # the fixture
CLOSED = 4444


class Notebooks:
    """As much of a node as probes look at: its notebooks, and an engine that knows their pids."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        entry = SimpleNamespace(container="c1", phase="ready")
        self.registry: list[Any] = [SimpleNamespace(entry=entry, retiring=False)]
        self.engine = self
        self.news = 0
        self.asked = 0

    async def inspect(self, container: str) -> Seen:
        self.asked += 1
        return Seen(id=container, labels={}, state="running", pid=self.pid)

    async def tell(self) -> None:
        self.news += 1


@pytest.fixture
def notebooks(yard: Yard) -> Iterator[Notebooks]:
    yield Notebooks(yard.pid("one"))
    yard.live("node", lambda: Nft().remove(NAME))


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    settings = Settings(node=NodeSettings.model_validate({"address": ADDRESSES[4]["node"]}))
    return Surroundings(tmp_path, settings, bridge=BRIDGE, address=ADDRESSES[4]["node"])


def reaching(notebooks: Notebooks, around: Surroundings) -> Reach:
    return Reach(notebooks, around, notebooks.tell)  # type: ignore[arg-type]


def told(stamp: int = 1, **hubs: str) -> NodeSurroundings:
    known = [{"hub": hub, "api_url": url} for hub, url in hubs.items()]
    return NodeSurroundings.model_validate({"stamp": stamp, "hubs": known})


def url(version: int = 4, port: int = API) -> str:
    host = ADDRESSES[version]["hub"]
    return f"http://[{host}]:{port}/hub/api" if version == 6 else f"http://{host}:{port}/hub/api"


async def often(reach: Reach) -> None:
    for _ in range(FAILURES):
        await reach.probe_all()


@pytest.mark.parametrize("version", [4, 6])
async def test_a_hub_is_reached_only_where_the_rules_let_a_notebook_pass(
    yard: Yard, notebooks: Notebooks, around: Surroundings, version: int
) -> None:
    around.take(told(hub1=url(version)))
    reach = reaching(notebooks, around)
    await asyncio.to_thread(put, yard, Nft(), policy(version, hubs=()))
    await often(reach)
    refused = reach.unreachable
    await asyncio.to_thread(put, yard, Nft(), policy(version))
    settled = await reach.probe_all()

    assert (refused, settled, reach.unreachable) == (("hub1",), True, ())
    # Once when it was lost, once when it was found: nobody waits for the next heartbeat.
    assert notebooks.news == 2


async def test_a_hub_is_out_of_reach_after_three_failures_in_a_row_and_not_before(
    notebooks: Notebooks, around: Surroundings
) -> None:
    around.take(told(hub1=url(port=CLOSED), hub2=url()))
    reach = reaching(notebooks, around)
    seen = []
    for _ in range(FAILURES):
        await reach.probe_all()
        seen.append(reach.unreachable)

    assert seen == [(), (), ("hub1",)]


async def test_a_hub_that_moved_is_a_new_one(notebooks: Notebooks, around: Surroundings) -> None:
    around.take(told(hub1=url(port=CLOSED)))
    reach = reaching(notebooks, around)
    await often(reach)
    before = reach.unreachable
    around.take(told(2, hub1=url()))
    await reach.probe_all()

    assert (before, reach.unreachable) == (("hub1",), ())


async def test_a_hub_that_is_gone_is_forgotten(notebooks: Notebooks, around: Surroundings) -> None:
    around.take(told(hub1=url(port=CLOSED)))
    reach = reaching(notebooks, around)
    await often(reach)
    around.take(told(2))
    await reach.probe_all()

    assert reach.unreachable == ()


@pytest.mark.parametrize("pid", [0, 2**22 - 1], ids=["without", "gone"])
async def test_without_a_notebook_nothing_is_said_of_a_hub(
    notebooks: Notebooks, around: Surroundings, pid: int
) -> None:
    notebooks.pid = pid
    around.take(told(hub1=url()))
    reach = reaching(notebooks, around)
    # A notebook that ends under our hands is none: it says nothing of the hub.
    await often(reach)
    settled = await reach.probe_all()

    assert (settled, reach.unreachable) == (False, ())


async def test_an_engine_that_names_no_process_is_not_asked_about_every_notebook(
    notebooks: Notebooks, around: Surroundings
) -> None:
    notebooks.pid = 0
    notebooks.registry *= 50
    around.take(told(hub1=url()))

    await reaching(notebooks, around).probe_all()

    assert notebooks.asked == reach.TRIED_AT_ONCE


async def test_a_probe_takes_nobody_of_us_elsewhere(
    notebooks: Notebooks, around: Surroundings
) -> None:
    around.take(told(hub1=url()))
    here = os.readlink("/proc/self/ns/net")
    await reaching(notebooks, around).probe_all()

    after = {await asyncio.to_thread(os.readlink, "/proc/thread-self/ns/net") for _ in range(5)}

    assert after == {here}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "the server there answers 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what answers there is no web server"),
        (b"x" * 100_000, "what answers there is no web server"),
        (b"", "what answers there is no web server"),
    ],
    ids=["200", "403", "503", "ssh", "noise", "silence"],
)
async def test_only_a_web_server_that_is_well_is_a_hub(answer: bytes, why: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = ""
    async with server:
        end = reach.socket_inside("/proc/self/ns/net", 2)
        with end:
            await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
            try:
                async with asyncio.timeout(60):
                    await reach.hear(end, f"http://127.0.0.1:{port}/hub/api")
            except OutOfReach as error:
                found = str(error)

    assert found == why
