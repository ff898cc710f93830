"""The page in a real browser, where there is one: chromium with its driver, and Selenium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")
pytest.importorskip("vl_convert")

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from mstgraph.page.page import write_page

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium")


@pytest.fixture
def browser() -> Any:
    """A window of a telephone's width, without network, in dark mode."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    off = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", off)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    yield driver
    driver.quit()


def test_the_page_works(tiny_run: Path, tmp_path: Path, browser: Any) -> None:
    """Every chart is drawn, nothing overflows, clicks work, and the console stays empty."""
    write_page([tiny_run], tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())

    def ask(expression: str) -> Any:
        return browser.execute_script(f"return {expression}")

    def drawn(_: Any = None) -> bool:
        return bool(ask("document.documentElement.dataset.drawn"))

    WebDriverWait(browser, 300).until(drawn)
    places = ask("document.querySelectorAll('.chart').length")
    assert places > 15
    assert ask("document.querySelectorAll('.chart svg[aria-label]').length") == places
    assert ask("document.documentElement.scrollWidth") == 400
    assert ask("document.documentElement.dataset.theme") == "dark"
    browser.execute_script("document.querySelector('.drawing g[tabindex]').focus()")
    assert "routed" in ask("document.querySelector('.said').textContent")
    assert ask("document.querySelectorAll('.drawing .dim').length") > 0
    browser.execute_script("document.getElementById('theme').click()")
    assert ask("document.documentElement.dataset.theme") == "light"
    assert browser.get_log("browser") == []
