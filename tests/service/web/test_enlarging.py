"""Pictures that are enlarged on the page: preview, result, command, keyboard, and no barriers."""

import io
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.support.browser import Visit, download, open_page, violations, visit
from tests.support.live import Live, live, png, settings_for
from tests.support.upscaling import random_upscaling_weights, upscaling_service


@pytest.fixture(scope="module")
def service(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with upscaling_service(weights, random_upscaling_weights(tmp_path_factory.mktemp("upscaling"))) as running:
        yield running


def choose(visited: Visit, path: Path, data: bytes, factor: int) -> None:
    path.write_bytes(data)
    visited.page.set_input_files("#image", path)
    visited.page.check(f"input[name=factor][value='{factor}']")
    expect(visited.page.locator("#showing")).to_have_text("Not enlarged yet")


def test_a_picture_is_enlarged_measured_and_downloaded(visited: Visit, service: Live, tmp_path: Path) -> None:
    page, small = visited.page, png(60, 80, 3)
    (tmp_path / "clean.png").write_bytes(png(180, 240, 3, seed=1))
    choose(visited, tmp_path / "small.png", small, 3)
    page.locator("#sigma").fill("10")
    page.set_input_files("#reference", tmp_path / "clean.png")
    page.click("#apply")
    expect(page.locator("#showing")).to_have_text("Result")
    for text in ("upscale", "σ 10.0", "Enlarged3 ×", "240 × 180", "PSNR", "SSIM"):
        expect(page.locator("#figures")).to_contain_text(text)
    assert page.locator("#after").evaluate("image => image.naturalWidth") == 240
    sizes = [
        page.locator(f"#{name}").evaluate("image => [image.clientWidth, image.clientHeight]") for name in ("before", "after")
    ]
    assert sizes == [[240, 180], [240, 180]]
    assert page.locator(".tag").all_text_contents() == ["Original", "Enlarged"]
    path = download(visited, tmp_path)
    assert path.name == "small-3x.png"
    assert path.read_bytes() == service.client.post("/v1/upscale?factor=3&sigma=10", content=small).content


def test_an_ensemble_is_asked_for(visited: Visit, service: Live, tmp_path: Path) -> None:
    choose(visited, tmp_path / "small.png", png(60, 80), 2)
    visited.page.locator("#sigma").fill("0")
    visited.page.check("#ensemble")
    visited.page.click("#apply")
    expect(visited.page.locator("#showing")).to_have_text("Result")
    path = download(visited, tmp_path)
    assert path.read_bytes() == service.client.post("/v1/upscale?factor=2&ensemble=true", content=png(60, 80)).content


def test_other_formats_come_from_the_same_computation(visited: Visit, tmp_path: Path) -> None:
    choose(visited, tmp_path / "small.png", png(60, 80, 3), 2)
    visited.page.click("#apply")
    expect(visited.page.locator("#showing")).to_have_text("Result")
    visited.page.select_option("#format", "tiff")
    path = download(visited, tmp_path)
    assert (path.name, Image.open(io.BytesIO(path.read_bytes())).size) == ("small-2x.tiff", (160, 120))
    assert len(visited.sent("PUT", "/v1/jobs")) == 1


@pytest.mark.parametrize("factor", [1, 2])
def test_the_result_has_the_metadata_that_were_chosen(visited: Visit, tmp_path: Path, factor: int) -> None:
    page, data = visited.page, png(60, 80, 3)
    (tmp_path / "small.png").write_bytes(data)
    page.set_input_files("#image", tmp_path / "small.png")
    page.check(f"input[name=factor][value='{factor}']")
    page.select_option("#metadata", "strip")
    page.click("#apply")
    expect(page.locator("#showing")).to_have_text("Result")
    result = download(visited, tmp_path).read_bytes()
    assert "Software" not in Image.open(io.BytesIO(result)).info
    page.select_option("#metadata", "keep")
    expect(page.locator("#showing")).to_contain_text("Settings changed")


def test_a_preview_shows_the_enlarged_part(visited: Visit, tmp_path: Path) -> None:
    choose(visited, tmp_path / "small.png", png(700, 601), 2)
    visited.page.check("#live")
    expect(visited.page.locator("#showing")).to_have_text("Preview of the framed part")
    preview = visited.page.locator("#preview")
    assert preview.evaluate("canvas => [canvas.width, canvas.height, canvas.style.width]") == [1024, 1024, "1024px"]
    assert preview.evaluate("canvas => [parseInt(canvas.style.left) % 2, parseInt(canvas.style.top) % 2]") == [0, 0]
    (request,) = visited.sent("POST", "/v1/upscale")
    assert "factor=2" in request.url


def test_only_settings_that_matter_are_shown(visited: Visit, tmp_path: Path) -> None:
    page = visited.page
    page.check("#photons")
    page.locator("#by-hand").check()
    page.locator("#sigma").fill("60")
    choose(visited, tmp_path / "small.png", png(), 4)
    for hidden in ("#model", "#strength", "#photons", "#mask-name", "#neighbors", "#noise-map"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.locator("#sigma").input_value() == "25"
    page.check("input[name=factor][value='1']")
    for shown in ("#model", "#strength", "#neighbors", "#noise-map"):
        expect(page.locator(shown)).to_be_visible()
    assert page.locator(".tag").all_text_contents() == ["Noisy", "Denoised"]


def test_the_command_asks_for_the_same(visited: Visit, tmp_path: Path) -> None:
    choose(visited, tmp_path / "small.png", png(), 2)
    visited.page.check("#auto")
    words = shlex.split(visited.page.locator("#command").text_content() or "")
    assert words[words.index("-o") + 1] == "small-2x.png"
    assert words[-1].endswith("/v1/upscale?factor=2&sigma=auto")


def test_the_keyboard_chooses_the_factor(visited: Visit) -> None:
    page = visited.page
    page.locator("input[name=factor][value='1']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("input[name=factor]:checked").input_value() == "3"
    expect(page.locator("#command")).to_contain_text("factor=3")


def test_a_page_with_an_enlarged_picture_has_no_barriers(browser: Browser, service: Live, tmp_path: Path) -> None:
    (tmp_path / "small.png").write_bytes(png(60, 80, 3))
    with open_page(browser, f"http://127.0.0.1:{service.port}/", 1400) as page:
        page.set_input_files("#image", tmp_path / "small.png")
        page.check("input[name=factor][value='2']")
        expect(page.locator("#showing")).to_have_text("Preview")
        assert violations(page) == []


def test_without_the_model_there_is_no_such_setting(browser: Browser, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.backend.has_upscaler", lambda: False)
    with live(settings_for(weights)) as other, visit(browser, f"http://127.0.0.1:{other.port}/") as opened:
        expect(opened.page.locator("#enlarging")).to_be_hidden()
