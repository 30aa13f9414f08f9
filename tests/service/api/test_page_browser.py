"""The page in a real browser: `pytest -m browser`, with Chromium installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.live import PATIENCE, Live, live, png, settings_for

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.fixture
def page(service: Live) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: errors.append(message.text) if message.type == "error" and "422" not in message.text else None,
        )
        page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        page.goto(f"http://127.0.0.1:{service.port}/")
        yield page
        browser.close()
        assert not errors


def test_a_picture_is_denoised_compared_and_downloaded(page: Page, tmp_path: Path) -> None:
    noisy, clean = tmp_path / "noisy.png", tmp_path / "clean.png"
    noisy.write_bytes(png(200, 300, 3))
    clean.write_bytes(png(200, 300, 3, seed=1))
    page.set_input_files("#image", noisy)
    page.select_option("#mode", "given")
    page.locator("#sigma").fill("40")
    page.set_input_files("#reference", clean)
    page.click("#go")
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#figures")).to_contain_text("PSNR after")
    expect(page.locator("#figures")).to_contain_text("40")
    page.locator("#slider").fill("25")
    assert page.locator("#compare").evaluate("e => e.style.getPropertyValue('--at')") == "25%"
    assert page.locator("#after").evaluate("e => e.naturalWidth") == 300
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "noisy-denoised.png"
    page.screenshot(path=tmp_path / "page.png", full_page=True)


def test_an_error_is_said_in_words(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(png()[:-40])
    page.set_input_files("#image", bad)
    with page.expect_response("**/v1/denoise") as answer:
        page.click("#go")
    assert answer.value.status == 422
    expect(page.locator("#status")).to_contain_text("The image cannot be decoded")
    expect(page.locator("#go")).to_be_enabled()
