"""A hub that starts again while something that it needs is away: nobody loses a server by it."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from controlplane.messages import LeaseRelease
from tests import conftest as given
from tests.spawner.hubs import Hub
from tests.spawner.worker import Notebook, Worker
from tests.working.fault_proxy import FaultProxy

pytestmark = [pytest.mark.hub, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def worker(amqp_url: str) -> AsyncIterator[Worker]:
    worker = await Worker.start(amqp_url, f"t{secrets.token_hex(5)}")
    yield worker
    await worker.close()


def new_hub(directory: Path, worker: Worker, amqp_url: str, more: str = "") -> Hub:
    return Hub(
        directory,
        amqp=amqp_url,
        installation=worker.broker.installation,
        proxy=given.given("GREENROOM_TEST_PROXY"),
        more=more,
    )


def released(worker: Worker) -> set[str]:
    return {m.lease for m in worker.heard if isinstance(m, LeaseRelease)}


async def test_without_a_broker_a_hub_finds_its_servers_and_starts_none(
    worker: Worker, amqp_url: str, tmp_path: Path
) -> None:
    way = FaultProxy(amqp_url)
    await way.open()
    hub = new_hub(tmp_path, worker, way.url)
    try:
        await hub.start()
        await hub.meet()
        await hub.spawn("ann")
        await hub.until_ready("ann")
        await hub.kill()
        way.down()

        await hub.start()
        await hub.until_ready("ann")
        page = await hub.visit("ann", "api")
        refused = await hub.spawn("bob")
        way.up()
        await hub.meet()
        still = await hub.servers("ann")
    finally:
        await hub.stop()
        await way.close()

    assert json.loads(page.body)["path"] == "/base/user/ann/api"
    assert refused.code == 503
    assert "RabbitMQ is down" in json.loads(refused.body)["message"]
    assert still[""]["ready"]
    assert worker.leases("ann")[0] not in released(worker)


async def test_a_server_on_a_node_out_of_reach_lives_on_until_its_person_starts_again(
    worker: Worker, amqp_url: str, tmp_path: Path
) -> None:
    """Whose node is back by then finds the same notebook, whose is not gets another."""
    hub = new_hub(tmp_path, worker, amqp_url, "c.GreenroomSpawner.http_timeout = 10")
    back = HTTPServer(Application([(".*", Notebook)]))
    try:
        await hub.start()
        await hub.meet()
        for user in ("ann", "bob"):
            await hub.spawn(user)
            await hub.until_ready(user)
        mine, other = (worker.leases(user)[0] for user in ("ann", "bob"))
        await hub.kill()
        for lease in (mine, other):
            worker.rows[lease].server.stop()
        await hub.start()
        await hub.until_gone("ann")
        await hub.until_gone("bob")
        told = await worker.until(
            lambda: [t for t in worker.inventories(hub.hub_id) if {mine, other} <= {*t.leases}]
        )
        gone = released(worker)
        back.add_sockets(bind_sockets(port_of(worker, mine), "127.0.0.1"))
        for user in ("ann", "bob"):
            await hub.spawn(user)
            await hub.until_ready(user)
        page = await hub.visit("ann", "api")
    finally:
        await hub.stop()
        back.stop()

    assert told
    assert not gone & {mine, other}
    assert worker.leases("ann") == [mine]
    assert json.loads(page.body)["path"] == "/base/user/ann/api"
    assert len(worker.leases("bob")) == 2
    assert "consecutive spawns failed" not in hub.log


def port_of(worker: Worker, lease: str) -> int:
    port = urlsplit(worker.rows[lease].url or "").port
    assert port is not None
    return port
