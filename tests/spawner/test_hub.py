"""The spawner in a real hub behind a real proxy; a scripted lease worker answers it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.decide.lease import prefix_fits
from controlplane.messages import LeaseRelease
from tests import conftest as given
from tests.spawner.hubs import Hub
from tests.spawner.worker import Worker

pytestmark = [pytest.mark.hub, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(amqp_url: str) -> AsyncIterator[Worker]:
    worker = await Worker.start(amqp_url, f"t{secrets.token_hex(5)}")
    yield worker
    await worker.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    worker: Worker, amqp_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    hub = new_hub(tmp_path_factory.mktemp("hub"), worker, amqp_url)
    try:
        await hub.start()
        await hub.meet()
        yield hub
    finally:
        await hub.stop()


@pytest.fixture(autouse=True)
def _serves(worker: Worker) -> None:
    worker.policy = "serve"


def new_hub(directory: Path, worker: Worker, amqp_url: str, more: str = "") -> Hub:
    return Hub(
        directory,
        amqp=amqp_url,
        installation=worker.broker.installation,
        proxy=given.given("GREENROOM_TEST_PROXY"),
        more=f"c.GreenroomSpawner.consecutive_failure_limit = 2\n{more}",
    )


async def test_a_user_gets_a_notebook_through_the_proxy(hub: Hub, worker: Worker) -> None:
    response = await hub.spawn("ann")

    assert response.code == 201, hub.log[-3000:]
    row = worker.rows[worker.leases("ann")[0]]
    assert row.request.prefix == "/base/user/ann/"
    page = await hub.visit("ann", "api")
    assert json.loads(page.body)["path"] == "/base/user/ann/api"


async def test_stopping_releases_the_lease(hub: Hub, worker: Worker) -> None:
    await hub.spawn("bob")

    response = await hub.stop_server("bob")

    assert response.code in (202, 204)
    lease = worker.leases("bob")[0]
    await worker.until(lambda: worker.rows[lease].phase == "ended")
    assert worker.rows[lease].reason == "stopped"
    await hub.until_gone("bob")


async def test_a_notebook_that_dies_is_gone_from_the_hub_without_waiting_for_a_poll(
    hub: Hub, worker: Worker
) -> None:
    await hub.spawn("cat")
    await hub.until_ready("cat")

    await worker.end(worker.leases("cat")[0], "died")

    await hub.until_gone("cat")


async def test_who_waits_sees_the_place_in_line(hub: Hub, worker: Worker) -> None:
    worker.policy = "hold"
    press = asyncio.ensure_future(hub.spawn("dan"))
    lease = (await worker.until(lambda: worker.leases("dan")))[0]
    seen = []
    async for event in hub.progress("dan"):
        seen.append(event)
        if "queue" in event and worker.rows[lease].phase == "waiting":
            await worker.serve(lease)

    queue = next(event["queue"] for event in seen if "queue" in event)
    assert queue == {
        "position": 1,
        "eta_seconds": 12,
        "pool": "small",
        "why": "warming",
        "warming": 2,
    }
    assert seen[-1].get("ready")
    assert (await press).code in (201, 202)


async def test_who_has_the_backup_of_a_home_is_told_on_the_page_which_then_goes_on(
    hub: Hub, worker: Worker
) -> None:
    worker.policy = "hold"
    press = asyncio.ensure_future(hub.spawn("fay"))
    lease = (await worker.until(lambda: worker.leases("fay")))[0]
    worker.rows[lease].home = "backup-ro"
    seen = []
    async for event in hub.progress("fay"):
        seen.append(event)
        if worker.rows[lease].phase == "waiting":
            await worker.serve(lease)

    told = [event["message"] for event in seen]
    assert any("does not answer: you have its backup, read-only" in words for words in told)
    assert seen[-1].get("ready")
    assert (await press).code in (201, 202)


async def test_a_start_that_is_given_up_is_cancelled(hub: Hub, worker: Worker) -> None:
    worker.policy = "hold"
    press = asyncio.ensure_future(hub.spawn("eve"))
    lease = (await worker.until(lambda: worker.leases("eve")))[0]

    await hub.stop_server("eve")

    await worker.until(lambda: worker.rows[lease].phase == "ended")
    assert worker.rows[lease].reason == "cancelled"
    await press
    await hub.until_gone("eve")


async def test_dry_pools_never_make_the_hub_exit(hub: Hub, worker: Worker) -> None:
    worker.policy = "expired"
    codes = [(await hub.spawn(f"dry{n}")).code for n in range(3)]
    worker.policy = "serve"

    response = await hub.spawn("after")

    assert codes == [503, 503, 503]
    assert response.code == 201
    assert "consecutive spawn" not in hub.log


async def test_named_servers_have_leases_of_their_own(hub: Hub, worker: Worker) -> None:
    await hub.spawn("fay")
    await hub.spawn("fay", "second")
    await hub.until_ready("fay", "second")

    await hub.stop_server("fay", "second")

    lease = worker.leases("fay", "second")[0]
    await worker.until(lambda: worker.rows[lease].phase == "ended")
    assert worker.rows[worker.leases("fay")[0]].phase == "serving"
    assert worker.rows[lease].request.prefix == "/base/user/fay/second/"


async def test_a_hostile_user_name_travels_intact(hub: Hub, worker: Worker) -> None:
    name = "we ird;$(x)%41@☃'\"{username}"

    response = await hub.spawn(name)

    assert response.code == 201, hub.log[-3000:]
    request = worker.rows[worker.leases(name)[0]].request
    assert prefix_fits(name, "", request.prefix)


async def test_options_that_nobody_knows_are_refused_by_name(hub: Hub, worker: Worker) -> None:
    response = await hub.spawn("gus", options={"colour": "red"})

    assert response.code == 400
    assert "colour" in json.loads(response.body)["message"]
    assert worker.leases("gus") == []


async def test_two_hubs_share_a_greenroom_and_know_only_their_own(
    hub: Hub, worker: Worker, amqp_url: str, tmp_path: Path
) -> None:
    other = new_hub(tmp_path, worker, amqp_url)
    try:
        await other.start()
        await other.meet()
        await hub.spawn("ida")
        await other.spawn("ida")
        await other.stop_server("ida")
        mine = worker.leases("ida", hub=hub.hub_id)
        theirs = worker.leases("ida", hub=other.hub_id)
        await worker.until(lambda: worker.rows[theirs[0]].phase == "ended")
    finally:
        await other.stop()

    assert hub.hub_id != other.hub_id
    assert worker.rows[mine[0]].phase == "serving"
    assert (await hub.servers("ida"))[""]["ready"]


async def test_a_hub_that_was_killed_takes_up_what_runs_and_what_was_starting(
    worker: Worker, amqp_url: str, tmp_path: Path
) -> None:
    hub = new_hub(tmp_path, worker, amqp_url)
    try:
        await hub.start()
        await hub.meet()
        for user in ("runs", "dies"):
            await hub.spawn(user)
        worker.policy = "hold"
        for user in ("starts", "leaves"):
            await hub.new_user(user)
            press = asyncio.ensure_future(hub.spawn(user))
            await worker.until(lambda user=user: worker.leases(user))
            press.add_done_callback(lambda done: done.exception())
        await hub.kill()
        await worker.end(worker.leases("dies")[0], "died")
        await worker.end(worker.leases("leaves")[0], "cancelled")
        await worker.serve(worker.leases("starts")[0])

        await hub.start()

        await hub.until_ready("runs")
        await hub.until_ready("starts")
        await hub.until_gone("dies")
        await hub.until_gone("leaves")
        wanted = {worker.leases("runs")[0], worker.leases("starts")[0]}
        await worker.until(
            lambda: [
                told
                for told in worker.inventories(hub.hub_id)
                if told.complete and set(told.leases) == wanted
            ]
        )
        released = {m.lease for m in worker.heard if isinstance(m, LeaseRelease)}
        assert not released & wanted
        page = await hub.visit("starts", "api")
        assert json.loads(page.body)["path"] == "/base/user/starts/api"
    finally:
        await hub.stop()


async def test_a_hub_without_a_broker_starts_and_says_why_nothing_else_does(
    worker: Worker, tmp_path: Path
) -> None:
    hub = new_hub(tmp_path, worker, "amqp://nobody@127.0.0.1:1/")
    try:
        await hub.start()

        response = await hub.spawn("ann")

        assert response.code == 503
        assert "RabbitMQ" in json.loads(response.body)["message"]
    finally:
        await hub.stop()
