"""The page in a real browser: `pytest -m browser`, with Chromium installed."""

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect, sync_playwright

from tests.support.heif_files import heic
from tests.support.live import PATIENCE, Live, live, png, settings_for
from tests.support.picture_table import pil

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


def test_the_network_and_the_detail_can_be_chosen(page: Page, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy.png"
    noisy.write_bytes(png(40, 50, 3))
    page.set_input_files("#image", noisy)
    page.select_option("#model", "n3unet")
    page.locator("#detail").fill("0.5")
    # Playwright does not see the body of a request with files.
    page.evaluate(
        "() => { window.sent = {}; const append = FormData.prototype.append;"
        "FormData.prototype.append = function (name, value) { sent[name] = value; append.call(this, name, value); }; }"
    )
    with page.expect_response("**/v1/denoise") as answer:
        page.click("#go")
    assert answer.value.status == 200
    assert answer.value.headers["x-model"] == "n3unet"
    assert page.evaluate("sent.detail") == "0.5"


@pytest.mark.parametrize(("name", "result"), [("noisy.HEIC", "noisy-denoised.jpg"), ("noisy.tif", "noisy-denoised.tiff")])
def test_a_picture_that_browsers_cannot_show_is_shown(page: Page, tmp_path: Path, name: str, result: str) -> None:
    samples = np.random.default_rng(0).integers(80, 170, (64, 72, 3), dtype=np.uint8)
    (tmp_path / name).write_bytes(heic(samples) if "HEIC" in name else pil(samples, "tiff"))
    page.set_input_files("#image", tmp_path / name)
    page.click("#go")
    expect(page.locator("#result")).to_be_visible()
    for shown in ("before", "after"):
        expect(page.locator(f"#{shown}")).to_have_js_property("naturalWidth", 72)
    assert page.locator("#download").get_attribute("download") == result


def test_an_error_is_said_in_words(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(png()[:-40])
    page.set_input_files("#image", bad)
    with page.expect_response("**/v1/denoise") as answer:
        page.click("#go")
    assert answer.value.status == 422
    expect(page.locator("#status")).to_contain_text("The image cannot be decoded")
    expect(page.locator("#go")).to_be_enabled()
    expect(page.locator("#result")).to_be_hidden()


def clean_png() -> bytes:
    """Return a picture without noise."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((128, 128), 60, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def never_answer(_: Route) -> None:
    """Hold a request back, so that the page waits until it gives up."""


def test_no_result_stands_under_the_name_of_another_picture(page: Page, tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    for path in (one, other):
        path.write_bytes(png(60, 60))
    page.set_input_files("#image", one)
    page.click("#go")
    expect(page.locator("#result")).to_be_visible()
    page.set_input_files("#image", other)
    expect(page.locator("#chosen")).to_contain_text("other.png")
    expect(page.locator("#result")).to_be_hidden()


def test_a_result_that_arrives_after_another_picture_was_chosen_is_dropped(page: Page, tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    for path in (one, other):
        path.write_bytes(png(60, 60))
    page.route("**/v1/denoise", never_answer)
    page.set_input_files("#image", one)
    page.click("#go")
    expect(page.locator("#stop")).to_be_visible()
    page.set_input_files("#image", other)
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#go")).to_be_enabled()
    expect(page.locator("#status")).to_have_text("")
    expect(page.locator("#result")).to_be_hidden()


def test_the_keyboard_keeps_its_focus_and_the_end_is_announced(page: Page, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png(60, 60))
    page.set_input_files("#image", tmp_path / "one.png")
    page.locator("#go").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Done in")
    expect(page.locator("#go")).to_be_focused()

    page.route("**/v1/denoise", never_answer)
    page.keyboard.press("Enter")
    page.locator("#stop").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.locator("#go")).to_be_focused()


def test_warnings_say_in_words_what_to_do(page: Page, tmp_path: Path) -> None:
    (tmp_path / "clean.png").write_bytes(clean_png())
    page.set_input_files("#image", tmp_path / "clean.png")
    page.click("#go")
    expect(page.locator("#status")).to_contain_text("set sigma yourself")
    expect(page.locator("main")).not_to_contain_text("looks-clean")


def test_the_slider_for_sigma_is_found_by_its_label(page: Page) -> None:
    page.select_option("#mode", "given")
    slider = page.get_by_label(re.compile("standard deviation of the noise"))
    expect(slider).to_be_visible()
    assert slider.get_attribute("id") == "sigma"


CONTRAST = """() => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const text = light(getComputedStyle(document.getElementById("status")).color);
  const paper = light(getComputedStyle(document.documentElement).backgroundColor);
  return (Math.max(text, paper) + 0.05) / (Math.min(text, paper) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_errors_have_the_contrast_of_wcag_aa(scheme: Literal["light", "dark"], page: Page) -> None:
    page.emulate_media(color_scheme=scheme)
    page.locator("#status").evaluate("element => element.classList.add('error')")
    assert page.evaluate(CONTRAST) >= 4.5
