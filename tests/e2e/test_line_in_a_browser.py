"""What a person in line sees, and that the page goes on by itself, with JavaScript."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as seen

from tests import conftest as given
from tests.e2e.test_browser import chromium, keep, wait
from tests.spawner.hubs import Hub
from tests.spawner.worker import Worker

__all__ = ["chromium"]

pytestmark = [pytest.mark.hub, pytest.mark.services, pytest.mark.browser]

LINE = (By.CSS_SELECTOR, ".greenroom-line")
EVENT = (By.ID, "progress-message")


@pytest.fixture
async def worker(amqp_url: str) -> AsyncIterator[Worker]:
    worker = await Worker.start(amqp_url, f"t{secrets.token_hex(5)}")
    yield worker
    await worker.close()


async def ready_hub(hub: Hub, worker: Worker) -> None:
    """It has met its worker, and from now on the pool is dry."""
    await hub.start()
    await hub.meet()
    worker.policy = "hold"


def new_hub(directory: Path, worker: Worker, amqp_url: str, hold: int) -> Hub:
    return Hub(
        directory,
        amqp=amqp_url,
        installation=worker.broker.installation,
        proxy=given.given("GREENROOM_TEST_PROXY"),
        # The pending page comes at once, and a machine that is slow loses no place.
        more=f"c.GreenroomSpawner.hold_in_start = {hold}\n"
        "c.GreenroomSpawner.keep_place_seconds = 600",
    )


def press_start(browser: webdriver.Chrome, hub: Hub, name: str) -> None:
    """Log in, which leads to the start of a server."""
    browser.get(f"{hub.public}/base/hub/login?next=/base/hub/spawn/{name}")
    wait(browser).until(seen.presence_of_element_located((By.ID, "username_input")))
    browser.find_element(By.ID, "username_input").send_keys(name)
    browser.find_element(By.ID, "password_input").send_keys("x" + Keys.ENTER)


def shown(browser: webdriver.Chrome, where: tuple[str, str], text: str, path: str) -> str:
    """Return all that a page at this path shows, once it says this."""
    wait(browser).until(seen.url_contains(path))
    wait(browser).until(seen.text_to_be_present_in_element(where, text))
    return browser.find_element(By.CSS_SELECTOR, "[role=main], main, body").text


async def test_a_page_outside_the_hub_goes_on_until_the_notebook_is_there(
    worker: Worker, amqp_url: str, tmp_path: Path, chromium: webdriver.Chrome
) -> None:
    hub = new_hub(tmp_path, worker, amqp_url, hold=0)
    try:
        await ready_hub(hub, worker)
        await asyncio.to_thread(press_start, chromium, hub, "ann")
        first = await asyncio.to_thread(shown, chromium, LINE, "Number 1 in line", "/hub/spawn/ann")
        keep(chromium, "in-line-at-first")
        looks = await asyncio.to_thread(
            shown, chromium, LINE, "Number 1 in line", "/hub/spawn-pending/ann"
        )
        keep(chromium, "in-line")
        await worker.serve(worker.leases("ann")[0])
        await asyncio.to_thread(lambda: wait(chromium).until(seen.url_contains("/user/ann/")))
    finally:
        await hub.stop()

    for page in (first, looks):
        assert "You are in line" in page
        assert not [word for word in ("429", "failed", "Relaunch", "restarting") if word in page]
    assert len(worker.leases("ann")) == 1


async def test_a_page_that_waits_in_the_hub_outlives_the_hub(
    worker: Worker, amqp_url: str, tmp_path: Path, chromium: webdriver.Chrome
) -> None:
    hub = new_hub(tmp_path, worker, amqp_url, hold=50)
    try:
        await ready_hub(hub, worker)
        await asyncio.to_thread(press_start, chromium, hub, "bob")
        await asyncio.to_thread(
            shown, chromium, EVENT, "Number 1 in line", "/hub/spawn-pending/bob"
        )
        keep(chromium, "in-line-in-the-hub")
        await hub.kill()
        await asyncio.to_thread(wait(chromium).until, hub_was_missed)
        await hub.start()
        lease = worker.leases("bob")[0]
        await asyncio.to_thread(
            shown, chromium, EVENT, "Number 1 in line", "/hub/spawn-pending/bob"
        )
        await hub.until_pending("bob")
        await worker.serve(lease)
        await asyncio.to_thread(lambda: wait(chromium).until(seen.url_contains("/user/bob/")))
    finally:
        await hub.stop()

    assert worker.leases("bob") == [lease]


def hub_was_missed(browser: webdriver.Chrome) -> bool:
    """The page has seen that the hub is not there."""
    return bool(browser.execute_script("return window.greenroomWatch === 2"))
