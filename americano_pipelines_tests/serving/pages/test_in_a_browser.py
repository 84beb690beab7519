"""The pages in Chromium: by keyboard, on a small screen, in the dark, printed, for screen readers; and `verify`."""

import sys
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines_tests.cli.test_dev import CHROMIUM, FLAGS
from americano_pipelines_tests.provenance.conftest import Lab, lab  # noqa: F401 - a fixture
from americano_pipelines_tests.serving.conftest import start
from americano_pipelines_tests.serving.pages.conftest import RECORDED, RUNNING, Pages

AXE = Path(sys.prefix, "axe", "node_modules", "axe-core", "axe.min.js")
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser() -> Any:
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


def signed_in(browser: Any, url: str, key: str, *, width: int = 1440, scheme: str = "light") -> Any:
    """A page of somebody who signed in by keyboard."""
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{url}/protocols")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/protocols")
    return page


def serious_findings(page: Any) -> list[tuple[str, str]]:
    page.evaluate(AXE.read_text())
    violations = page.evaluate("axe.run()")["violations"]
    return [(finding["id"], finding["nodes"][0]["html"]) for finding in violations if finding["impact"] in SERIOUS]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_the_pages_can_be_read(pages: Pages, browser: Any, width: int, scheme: str) -> None:
    page = signed_in(browser, pages.url, pages.api.key("admin"), width=width, scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))

    page.goto(f"{pages.url}/")
    page.get_by_text("Runs and disk as of").wait_for()  # until then it loads itself again
    for path in (
        "/",
        "/protocols",
        f"/protocols/protocol-{RECORDED}",
        f"/protocols/protocol-{RUNNING}",
        f"/analyses/{pages.record}",
        f"/compare?a={pages.record}&b={pages.record}",
        f"/learners/{RECORDED}",
    ):
        page.goto(pages.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        loaded = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        assert page.evaluate(loaded), path
        if AXE.exists():
            assert serious_findings(page) == [], path
    assert complaints == []
    page.emulate_media(media="print", color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.querySelector('header nav')).display") == "none"
    page.context.close()


@pytest.mark.skipif(
    not AXE.exists(), reason="axe-core is not installed: npm install --prefix .venv/axe axe-core@4.11.0"
)
def test_axe_finds_what_it_should(browser: Any) -> None:
    page = browser.new_page()
    page.set_content("<title>t</title><input><p style='color:#eee;background:#fff'>faint</p>")

    assert {"label", "color-contrast"} <= {finding for finding, _ in serious_findings(page)}


@pytest.mark.slow
def test_verify_shows_what_is_compared(lab: Lab, browser: Any, tmp_path: Path) -> None:  # noqa: F811
    recorded = lab.analyse()
    api = start(lab.settings, tmp_path / "api.log", **lab.database.variables())
    try:
        page = signed_in(browser, api.url.removesuffix("/v1"), api.key("read"))
        page.get_by_role("link", name="Experiments").first.click()
        page.goto(f"{api.url.removesuffix('/v1')}/analyses/{recorded.sha256}")
        page.get_by_role("button", name="Verify now").click()
        page.locator("#verified").wait_for()
        page.get_by_text("comparisons agree").click()
        table = page.get_by_role("group", name="What agrees")
        assert "match" in table.inner_text()
        assert "extract" in table.inner_text()
        assert recorded.record.standing is not None
        text = page.locator("main").inner_text()
        assert recorded.record.sentence in text
        assert recorded.record.standing.sentence in text
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key or token").wait_for()
        page.goto(f"{api.url.removesuffix('/v1')}/")
        assert "/sign-in" in page.url
    finally:
        api.stop()
