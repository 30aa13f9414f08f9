"""The reference of the API at /docs, which works without the internet and under a strict policy."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import visit
from tests.support.live import Live, png


@pytest.fixture
def page(browser: Browser, service: Live) -> Iterator[Page]:
    with visit(browser, f"http://127.0.0.1:{service.port}/docs") as opened:
        yield opened.page


def test_the_reference_lists_every_operation_and_sends_requests_and_files(page: Page, service: Live) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    expect(page.locator(".opblock")).to_have_count(sum(len(each) for each in paths.values()))
    page.locator("#operations-about-info .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
    expect(page.locator(".live-responses-table")).to_contain_text("max_pixels")
    page.locator("#operations-about-info .opblock-summary-control").click()
    page.locator("#operations-denoise-noise .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.locator(".opblock-section-request-body input[type=file]").set_input_files(
        {"name": "noisy.png", "mimeType": "image/png", "buffer": png()}
    )
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text("confidence")
