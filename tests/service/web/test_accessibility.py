"""What axe-core finds wrong with the pages for people with disabilities: nothing."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_page, violations
from tests.support.live import Live, png


@pytest.fixture(params=[("light", 1400), ("dark", 1400), ("light", 390)], ids=str)
def page(request: pytest.FixtureRequest, browser: Browser, service: Live) -> Iterator[Page]:
    scheme, width = request.param
    with open_page(browser, f"http://127.0.0.1:{service.port}/", width, color_scheme=scheme) as opened:
        yield opened


def test_the_page_with_nothing_a_queue_and_a_result(page: Page, tmp_path: Path) -> None:
    assert violations(page) == []
    flat = io.BytesIO()
    Image.fromarray(np.full((128, 128), 60, np.uint8)).save(flat, "PNG")
    files = {"one.png": png(60, 80, 3), "clean.png": flat.getvalue(), "bad.png": png()[:-40]}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    page.set_input_files("#image", [tmp_path / name for name in files])
    expect(page.locator("#showing")).to_have_text("Preview")
    for details in page.locator("#settings details").all():
        details.evaluate("details => { details.open = true; }")
    for noise in ("#photons", "#by-hand"):
        page.check(noise)
        expect(page.locator("#showing")).to_have_text("Preview")
        assert violations(page) == []
    page.route("**/v1/jobs/*", lambda route: None if route.request.method == "GET" else route.continue_())
    page.click("#apply-all")
    expect(page.locator("#queue .row[data-state=queued]").first).to_be_visible()
    assert violations(page) == []
    page.click("#cancel-all")
    page.unroute("**/v1/jobs/*")
    page.check("#auto")
    page.click("#apply-all")
    expect(page.locator("#totals")).to_have_text("3 pictures, 2 done, 1 failed")
    page.locator("#queue .pick").nth(1).click()
    expect(page.locator("#warnings")).to_be_visible()
    page.click("#neighbors")
    page.locator("#stage").click(position={"x": 100, "y": 100})
    page.locator("#neighbor-form button").first.click()
    expect(page.locator("#neighbors-about")).to_contain_text("Neighbor 1 of")
    page.click("#noise-map")
    expect(page.locator("#scene-after .heat")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    page.click("#key-open")
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reference_of_the_api(browser: Browser, service: Live, scheme: str) -> None:
    with open_page(browser, f"http://127.0.0.1:{service.port}/docs", 1200, color_scheme=scheme) as page:
        expect(page.locator(".opblock").first).to_be_visible()
        assert violations(page) == []
        page.locator("#operations-about-info .opblock-summary-control").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
        page.locator("#operations-denoise-denoise .opblock-summary-control").click()
        page.get_by_role("button", name="Try it out").click()
        expect(page.get_by_role("button", name="Execute")).to_have_count(2)
        assert violations(page) == []
