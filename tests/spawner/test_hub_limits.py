"""The limits that are in the hub's own code, and people who wait for a dry pool."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from controlplane.messages import KnownPool, LeaseRelease
from tests import conftest as given
from tests.spawner.browsing import Browser, Page, asked, browser
from tests.spawner.hubs import Hub
from tests.spawner.stage import KEY
from tests.spawner.worker import SECONDS, Worker

pytestmark = [pytest.mark.hub, pytest.mark.asyncio(loop_scope="module")]

LIMIT, HOLD, WAITING, AT_ONCE = 100, 50, 150, 10
DRY, WARM = {"profile": "dry"}, {"profile": "warm"}
MORE = f"""
c.JupyterHub.concurrent_spawn_limit = {LIMIT}
c.GreenroomSpawner.consecutive_failure_limit = 5
"""


@pytest_asyncio.fixture(loop_scope="module")
async def worker(amqp_url: str) -> AsyncIterator[Worker]:
    worker = await Worker.start(amqp_url, f"t{secrets.token_hex(5)}")
    worker.pools = tuple(
        KnownPool(pool=name, memory_mib=1024, cpus=2.0) for name in ("dry", "warm")
    )
    yield worker
    await worker.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dry_worker(amqp_url: str) -> AsyncIterator[Worker]:
    """Of one pool, that is dry."""
    worker = await Worker.start(amqp_url, f"t{secrets.token_hex(5)}")
    worker.pools = (KnownPool(pool="dry", memory_mib=1024, cpus=2.0),)
    yield worker
    await worker.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(
    dry_worker: Worker, amqp_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    """A hub of that one pool in which nobody may wait."""
    directory = tmp_path_factory.mktemp("full")
    hub = new_hub(directory, dry_worker, amqp_url, "c.GreenroomSpawner.hold_in_start = 0")
    try:
        await hub.start()
        await hub.meet()
        dry_worker.of_pool["dry"] = "hold"
        yield hub
    finally:
        await hub.stop()


def new_hub(directory: Path, worker: Worker, amqp_url: str, more: str = "") -> Hub:
    return Hub(
        directory,
        amqp=amqp_url,
        installation=worker.broker.installation,
        proxy=given.given("GREENROOM_TEST_PROXY"),
        more=MORE + more,
    )


async def press(hub: Hub, worker: Worker, users: list[str]) -> dict[str, asyncio.Task[Any]]:
    """Everybody asks for the dry pool, so many at once that the hub's own limit is not met.

    Returns when all have their place; what is not done by then waits in the hub.
    """
    answers: dict[str, asyncio.Task[Any]] = {}
    for start in range(0, len(users), AT_ONCE):
        for user in users[start : start + AT_ONCE]:
            answers[user] = asyncio.ensure_future(hub.spawn(user, options=DRY))
        away = max(0, len(answers) - HOLD)
        await worker.until(lambda: all(worker.leases(user) for user in answers))
        async with asyncio.timeout(SECONDS):
            while len(left := [a for a in answers.values() if not a.done()]) > len(answers) - away:
                await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    return answers


async def until_found(person: Browser, page: Page) -> Page:
    """The page that is shown once the hub has heard of the notebook."""
    async with asyncio.timeout(SECONDS):
        while "/hub/spawn/" not in (page.goes_to or ""):
            page = await person.goes_on(page)
    return page


async def test_150_who_wait_for_one_pool_leave_room_for_those_who_want_another(
    worker: Worker, amqp_url: str, tmp_path: Path
) -> None:
    hub = new_hub(tmp_path, worker, amqp_url)
    users = [f"user{n:03}" for n in range(WAITING)]
    answers: dict[str, asyncio.Task[Any]] = {}
    try:
        await hub.start()
        await hub.meet(WARM)
        worker.of_pool["dry"] = "hold"
        answers = await press(hub, worker, users)
        leases = [worker.leases(user)[0] for user in users]
        held = [user for user in users if not answers[user].done()]
        away = [answers[user].result() for user in users if user not in held]
        others = [await hub.spawn(f"other{n}", options=WARM) for n in range(3)]
        retried = [await hub.spawn(user, options=DRY) for user in users[-5:]]
        for user in (held[0], users[-1]):
            await worker.serve(worker.leases(user)[0])
        served = (await answers[held[0]]).code, (await hub.spawn(users[-1], options=DRY)).code
    finally:
        await hub.stop()
        await asyncio.gather(*answers.values(), return_exceptions=True)

    assert len(held) == HOLD
    assert {(answer.code, int(answer.headers["Retry-After"]) >= 1) for answer in away} == {
        (429, True)
    }
    assert [answer.code for answer in others] == [201] * 3
    assert [answer.code for answer in retried] == [429] * 5
    assert served == (201, 201)
    assert [worker.leases(user) for user in users] == [[lease] for lease in leases]
    assert sum(worker.rows[lease].phase == "waiting" for lease in leases) == WAITING - 2
    assert "consecutive spawns failed" not in hub.log
    assert "throttling" not in hub.log


async def test_a_page_without_javascript_comes_back_until_the_notebook_is_there(
    full: Hub, dry_worker: Worker
) -> None:
    async with browser(full.public, "/base/", "ann") as ann:
        first = await ann.open("/base/hub/spawn/ann?next=/base/user/ann/lab/tree/a%26b")
        looks = await ann.goes_on(first)
        again = await ann.goes_on(looks)
        lease = dry_worker.leases("ann")[0]
        await dry_worker.serve(lease)
        found = await until_found(ann, again)
        last = await ann.goes_on(found)
    await full.until_ready("ann")

    assert first.status == 429
    assert int(first.headers["Retry-After"]) >= 1
    assert "Number 1 in line for pool dry" in first.text
    assert [page.path for page in (looks, again)] == ["/base/hub/spawn-pending/ann"] * 2
    assert "A notebook is there for you" in found.text
    assert asked(found)["next"] == ["/base/user/ann/lab/tree/a&b"]
    assert last.path == "/base/user/ann/lab/tree/a&b"
    assert dry_worker.leases("ann") == [lease]
    assert lease not in [m.lease for m in dry_worker.heard if isinstance(m, LeaseRelease)]


async def test_who_chose_in_the_form_goes_on_with_that_choice(
    worker: Worker, amqp_url: str, tmp_path: Path
) -> None:
    hub = new_hub(tmp_path, worker, amqp_url, "c.GreenroomSpawner.hold_in_start = 0")
    try:
        await hub.start()
        await hub.meet(DRY)
        worker.of_pool["dry"] = "hold"
        async with browser(hub.public, "/base/", "bo") as bo:
            form = await bo.open("/base/hub/spawn/bo")
            first = await bo.send(form.form_action, DRY)
            looks = await bo.goes_on(first)
            lease = worker.leases("bo")[0]
            await worker.serve(lease)
            found = await until_found(bo, looks)
            await bo.goes_on(found)
        await hub.until_ready("bo")
    finally:
        await hub.stop()

    assert form.goes_to is None
    assert first.status in (200, 429)  # JupyterHub 5 shows the form as if nothing was wrong
    assert "Number 1 in line for pool dry" in first.text
    assert ["dry"] in asked(found).values()
    assert worker.leases("bo") == [lease]


async def test_the_token_of_a_lease_lives_as_long_as_its_place_and_serves_who_comes_back(
    full: Hub, dry_worker: Worker
) -> None:
    away = await full.spawn("cy")
    lease = dry_worker.leases("cy")[0]
    token = told(dry_worker, lease)["JUPYTERHUB_API_TOKEN"]
    meanwhile = await full.whoami(token)
    await dry_worker.serve(lease)
    back = await full.spawn("cy")
    await full.until_ready("cy")
    afterwards = await full.whoami(token)

    assert (away.code, back.code) == (429, 201)
    assert dry_worker.leases("cy") == [lease]
    assert (meanwhile, afterwards) == ("cy", "cy")


async def test_the_token_of_a_place_that_was_given_up_is_worth_nothing(
    worker: Worker, amqp_url: str, tmp_path: Path
) -> None:
    worker.pools = worker.pools[:1]
    more = "c.GreenroomSpawner.hold_in_start = 0\nc.GreenroomSpawner.keep_place_seconds = 1"
    hub = new_hub(tmp_path, worker, amqp_url, more)
    try:
        await hub.start()
        await hub.meet(DRY)
        worker.of_pool["dry"] = "hold"
        await hub.spawn("ann")
        lease = worker.leases("ann")[0]
        await worker.until(lambda: worker.rows[lease].phase == "ended")
        after = await hub.whoami(told(worker, lease)["JUPYTERHUB_API_TOKEN"])
    finally:
        await hub.stop()

    assert worker.rows[lease].reason == "cancelled"
    assert after is None


def told(worker: Worker, lease: str) -> dict[str, str]:
    """The environment that the notebook of this lease is given."""
    sealed = worker.rows[lease].request.sealed.encode()
    environment: dict[str, str] = json.loads(Fernet(KEY).decrypt(sealed))["environment"]
    return environment
