"""The page of a service that requires API keys."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visit
from tests.support.live import Live, live, png, settings_for

KEY = "open sesame"


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights, api_key_hashes=[hashlib.sha256(KEY.encode()).hexdigest()])) as running:
        yield running


def test_a_key_is_asked_for_when_it_is_needed_and_then_remembered(visited: Visit, tmp_path: Path) -> None:
    page = visited.page
    (tmp_path / "one.png").write_bytes(png(60, 60))
    page.set_input_files("#image", tmp_path / "one.png")
    expect(page.locator("#key-dialog")).to_be_hidden()
    page.click("#apply")
    expect(page.locator("#key-reason")).to_have_text("This service requires an API key.")
    page.locator("#key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-reason")).to_have_text("The service does not know this key.")
    page.locator("#key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#showing")).to_have_text("Result")
    expect(page.locator("#command")).to_contain_text('-H "X-API-Key: $N3DENOISE_KEY"')
    expect(page.locator("#command")).not_to_contain_text(KEY)

    page.reload()
    page.uncheck("#live")
    page.set_input_files("#image", tmp_path / "one.png")
    page.check("#by-hand")
    page.click("#apply")
    expect(page.locator("#showing")).to_have_text("Result")
    expect(page.locator("#key-dialog")).to_be_hidden()


def test_a_picture_fails_with_words_if_no_key_is_given(visited: Visit, tmp_path: Path) -> None:
    page = visited.page
    (tmp_path / "one.png").write_bytes(png(60, 60))
    page.set_input_files("#image", tmp_path / "one.png")
    page.click("#apply")
    expect(page.locator("#key-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(visited.row("one.png").locator(".state")).to_contain_text("A valid API key is required")
