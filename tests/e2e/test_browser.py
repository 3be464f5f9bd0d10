"""What a person sees: log in, JupyterLab, a cell and its result, stop the server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as seen
from selenium.webdriver.support.wait import WebDriverWait

from tests.e2e.house import House

pytestmark = [
    pytest.mark.engine,
    pytest.mark.hub,
    pytest.mark.services,
    pytest.mark.browser,
]
PATIENCE_SECONDS = 120


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        if os.environ.get("CI"):
            pytest.fail("chromium and chromium-driver are not installed, and CI skips nothing")
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,900",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(word)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_page_load_timeout(PATIENCE_SECONDS)
    yield browser
    browser.quit()


def wait(browser: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    return WebDriverWait(browser, PATIENCE_SECONDS)


def log_in(browser: webdriver.Chrome, house: House, name: str) -> None:
    browser.get(f"{house.url}/hub/login")
    wait(browser).until(seen.presence_of_element_located((By.ID, "username_input")))
    browser.find_element(By.ID, "username_input").send_keys(name)
    browser.find_element(By.ID, "password_input").send_keys("x" + Keys.ENTER)


def keep(browser: webdriver.Chrome, name: str) -> None:
    """A picture for people, where GREENROOM_TEST_PICTURES says."""
    directory = os.environ.get("GREENROOM_TEST_PICTURES")
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(directory) / f"{name}.png"))


async def test_a_person_logs_in_runs_a_cell_and_stops_the_server(
    house: House, chromium: webdriver.Chrome
) -> None:
    await house.warm(1)

    log_in(chromium, house, "iris")
    wait(chromium).until(seen.url_contains("/user/iris/lab"))
    wait(chromium).until(
        seen.element_to_be_clickable(
            (By.CSS_SELECTOR, ".jp-LauncherCard[data-category='Notebook']")
        )
    )
    keep(chromium, "jupyterlab")
    chromium.find_element(By.CSS_SELECTOR, ".jp-LauncherCard[data-category='Notebook']").click()
    cell = (By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell .cm-content")
    wait(chromium).until(seen.element_to_be_clickable(cell)).click()
    chromium.switch_to.active_element.send_keys("21 * 2")
    # The kernel has to be there before a cell is run for its result to appear.
    chromium.switch_to.active_element.send_keys(Keys.SHIFT + Keys.ENTER)
    output = (By.CSS_SELECTOR, ".jp-OutputArea-output")
    wait(chromium).until(seen.text_to_be_present_in_element(output, "42"))
    shown = chromium.find_element(*output).text
    keep(chromium, "result")
    chromium.get(f"{house.url}/hub/home")
    wait(chromium).until(seen.element_to_be_clickable((By.ID, "stop"))).click()
    wait(chromium).until(seen.invisibility_of_element_located((By.ID, "stop")))
    await house.until(
        lambda: house.counted("leased") + house.counted("retiring") == 0, "nothing leased"
    )

    assert shown.strip() == "42"
    assert not [lease for lease in house.ask("leases", "list") if lease["user"] == "iris"]
