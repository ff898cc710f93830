"""The page in a real browser, where there is one: chromium with its driver, and Selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import bench_samples as samples
import pytest

pytest.importorskip("selenium")
pytest.importorskip("vl_convert")

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from mstgraph.benchmark.results.results import save_results
from mstgraph.page.page import write_page

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium")


VALUES = {"image": [[0.5, 0.6, 0.7], [0.55, 0.66, 0.7], [0.6, 0.7, 0.75], [0.7, 0.75, 0.8]]}
DARK = [{"name": "prefers-color-scheme", "value": "dark"}]
STOPS = "a[href],button,summary,input:checked,[tabindex='0']"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A window of a telephone's width, without network, in dark mode."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    off = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", off)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": DARK})
    yield driver
    driver.quit()


@pytest.fixture(params=["run", "bench"], scope="module")
def opened(
    request: pytest.FixtureRequest,
    tiny_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
    browser: Any,
) -> tuple[str, Any]:
    """A page of that kind, drawn in the browser."""
    folder = tmp_path_factory.mktemp("page")
    shown = tiny_run
    if request.param == "bench":
        shown = folder / "bench"
        shown.mkdir()
        save_results(samples.bench(VALUES, synthetic="drawn"), shown / "results.json")
    write_page([shown], folder / "page.html")
    browser.get((folder / "page.html").as_uri())
    WebDriverWait(browser, 300).until(
        lambda _: browser.execute_script("return document.documentElement.dataset.drawn")
    )
    return request.param, browser


def test_every_control_is_reached_by_tab_and_seen(opened: tuple[str, Any]) -> None:
    """Each once, in their order, with an outline; nothing keeps the focus; all have names."""
    _, browser = opened
    wanted = browser.execute_script(
        "for (const one of document.querySelectorAll('details')) one.open = true;"
        f'window.stops = [...document.querySelectorAll("{STOPS}")], window.walked = [];'
        "addEventListener('focusin', ({ target }) => { const style = getComputedStyle(target);"
        " walked.push([stops.indexOf(target), style.outlineStyle === 'none' ? 0 :"
        " parseFloat(style.outlineWidth)]); });"
        "document.activeElement.blur(); scrollTo(0, 0); return stops.length"
    )
    for _ in range(wanted):
        key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    walked = browser.execute_script("return walked")
    assert [stop for stop, _ in walked] == [*range(wanted)]
    assert min(outline for _, outline in walked) >= 2
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    nameless = [
        node["role"]["value"]
        for node in tree
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", ()))
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []


def test_headings_tables_and_pictures_say_what_they_are(opened: tuple[str, Any]) -> None:
    """Headings leave out no level; a chart has a table or words; nothing moves unasked."""
    _, browser = opened
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    mute = browser.execute_script(
        "return [...document.querySelectorAll('figure:has(> .chart)')].filter((one) =>"
        " !one.querySelector('table') && !one.querySelector('figcaption span'))"
        ".map((one) => one.textContent.slice(0, 80))"
    )
    assert mute == []
    calm = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [*calm, *DARK]})
    style = "getComputedStyle(document.documentElement).scrollBehavior"
    assert browser.execute_script(f"return {style}") == "auto"


def test_a_series_is_picked_by_key_and_let_go(opened: tuple[str, Any]) -> None:
    """Enter on an entry of a legend dims the others; once more, and all are there."""
    kind, browser = opened
    if kind == "bench":
        pytest.skip("nothing of a bench has a legend")
    entry = "document.querySelector('[aria-pressed][tabindex]')"
    state = f"return [{entry}.getAttribute('aria-pressed'), {entry}.closest('.chart')"
    state += ".querySelectorAll(\"[opacity='0.12']\").length > 0]"
    for expected in (["true", True], ["false", False]):
        enter = "new KeyboardEvent('keydown', {key: 'Enter', bubbles: true})"
        browser.execute_script(f"{entry}.dispatchEvent({enter})")
        WebDriverWait(browser, 60).until(
            lambda driver, expected=expected: driver.execute_script(state) == expected
        )


def test_the_page_works(opened: tuple[str, Any]) -> None:
    """Every chart is drawn, nothing overflows, clicks work, and the console stays empty."""
    kind, browser = opened

    def ask(expression: str) -> Any:
        return browser.execute_script(f"return {expression}")

    places = ask("document.querySelectorAll('.chart').length")
    assert places > (15 if kind == "run" else 1)
    assert ask("document.querySelectorAll('.chart svg[aria-label]').length") == places
    assert ask("document.documentElement.scrollWidth") == 400
    assert ask("document.documentElement.dataset.theme") == "dark"
    if kind == "run":
        browser.execute_script("document.querySelector('.drawing g[tabindex]').focus()")
        assert "routed" in ask("document.querySelector('.said').textContent")
        assert ask("document.querySelectorAll('.drawing .dim').length") > 0
    browser.execute_script("document.getElementById('theme').click()")
    assert ask("document.documentElement.dataset.theme") == "light"
    assert browser.get_log("browser") == []
