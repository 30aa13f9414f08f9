"""One picture on the page: from choosing it to the file that is downloaded."""

import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import expect

from tests.support.browser import Visit, download
from tests.support.heif_files import heic
from tests.support.live import Live, png, png_of
from tests.support.picture_table import pil


def choose(visited: Visit, path: Path, data: bytes) -> None:
    """Put a picture on the page and wait until it is on the stage."""
    path.write_bytes(data)
    visited.page.set_input_files("#image", path)
    expect(visited.page.locator("#showing")).to_have_text("Not denoised yet")


def apply(visited: Visit) -> None:
    visited.page.click("#apply")
    expect(visited.page.locator("#showing")).to_have_text("Result")


def samples_of(data: bytes) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(data)), np.float64)


def test_a_picture_is_denoised_measured_and_downloaded(visited: Visit, service: Live, tmp_path: Path) -> None:
    noisy, clean = png(200, 300, 3), png(200, 300, 3, seed=1)
    (tmp_path / "clean.png").write_bytes(clean)
    choose(visited, tmp_path / "noisy.png", noisy)
    visited.page.locator("#sigma").fill("40")
    visited.page.set_input_files("#reference", tmp_path / "clean.png")
    apply(visited)
    figures = visited.page.locator("#figures")
    for text in ("σ 40.0", "300 × 200", "PSNR", "SSIM", "n3unet"):
        expect(figures).to_contain_text(text)
    assert visited.page.locator("#after").evaluate("image => image.naturalWidth") == 300
    path = download(visited, tmp_path)
    assert path.name == "noisy-denoised.png"
    assert path.read_bytes() == service.denoise(noisy, sigma=40, color="rgb").content


def test_strength_blends_on_the_screen_and_in_the_file_without_computing(visited: Visit, service: Live, tmp_path: Path) -> None:
    noisy = png(60, 80, 3)
    choose(visited, tmp_path / "noisy.png", noisy)
    apply(visited)
    before = len(visited.sent("PUT", "/v1/jobs")) + len(visited.sent("POST", "/v1/"))
    visited.page.locator("#strength").fill("50")
    assert visited.page.locator("#after").evaluate("image => getComputedStyle(image).opacity") == "0.5"
    saved = samples_of(download(visited, tmp_path).read_bytes())
    denoised = samples_of(service.denoise(noisy, sigma=25, color="rgb").content)
    assert abs(saved - (samples_of(noisy) + denoised) / 2).max() <= 1
    assert before == len(visited.sent("PUT", "/v1/jobs")) + len(visited.sent("POST", "/v1/")) == 1


def test_other_formats_come_from_the_same_computation(visited: Visit, tmp_path: Path) -> None:
    choose(visited, tmp_path / "noisy.png", png(60, 80, 3))
    apply(visited)
    visited.page.select_option("#format", "tiff")
    visited.page.select_option("#depth", "16")
    path = download(visited, tmp_path)
    assert path.name == "noisy-denoised.tiff"
    assert Image.open(io.BytesIO(path.read_bytes())).format == "TIFF"
    assert len(visited.sent("PUT", "/v1/jobs")) == 1


@pytest.mark.parametrize(("name", "result"), [("noisy.HEIC", "noisy-denoised.jpg"), ("noisy.tif", "noisy-denoised.tiff")])
def test_a_picture_that_browsers_cannot_show_takes_one_computation(
    visited: Visit, service: Live, tmp_path: Path, name: str, result: str
) -> None:
    samples = np.random.default_rng(0).integers(80, 170, (64, 72, 3), dtype=np.uint8)

    def computed() -> float:
        return service.metric("denoise_pixels_total", model="n3unet", device="cpu")

    before = computed()
    service.denoise(png(64, 72, 3), color="rgb")
    once, before = computed() - before, computed()
    choose(visited, tmp_path / name, heic(samples) if "HEIC" in name else pil(samples, "tiff"))
    assert computed() == before
    apply(visited)
    for shown in ("before", "after"):
        expect(visited.page.locator(f"#{shown}")).to_have_js_property("naturalWidth", 72)
    assert download(visited, tmp_path).name == result
    assert computed() == before + once
    assert len(visited.sent("PUT", "/v1/jobs")) == 1
    assert [each.url.split("?")[1][:10] for each in visited.sent("POST", "/v1/denoise")] == ["strength=0"]


def test_a_preview_shows_the_visible_part_whenever_a_setting_changes(visited: Visit, tmp_path: Path) -> None:
    choose(visited, tmp_path / "noisy.png", png(700, 900, 3))
    visited.page.check("#live")
    expect(visited.page.locator("#showing")).to_have_text("Preview of the framed part")
    preview = visited.page.locator("#preview")
    expect(preview).to_be_visible()
    assert preview.evaluate("canvas => [canvas.width, canvas.height, canvas.style.width]") == [512, 512, "512px"]
    visited.page.locator("#sigma").fill("50")
    expect(visited.page.locator("#figures")).to_contain_text("σ 50.0")
    assert not visited.sent("PUT", "/v1/jobs")
    apply(visited)
    expect(visited.page.locator("#preview")).to_be_hidden()


def test_a_result_is_not_shown_with_other_settings_or_another_picture(visited: Visit, tmp_path: Path) -> None:
    choose(visited, tmp_path / "one.png", png(60, 60))
    apply(visited)
    visited.page.locator("#sigma").fill("30")
    expect(visited.page.locator("#showing")).to_contain_text("Settings changed")
    expect(visited.page.locator("#after")).to_be_hidden()
    visited.page.locator("#sigma").fill("25")
    expect(visited.page.locator("#showing")).to_have_text("Result")
    (tmp_path / "other.png").write_bytes(png(50, 70, seed=1))
    visited.page.set_input_files("#image", tmp_path / "other.png")
    visited.row("other.png").locator(".pick").click()
    expect(visited.page.locator("#showing")).to_have_text("Not denoised yet")
    expect(visited.page.locator("#after")).to_be_hidden()
    assert visited.page.locator("#before").evaluate("image => image.naturalWidth") == 70


def test_warnings_and_confidence_are_in_words(visited: Visit, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((128, 128), 60, np.uint8)).save(buffer, "PNG")
    choose(visited, tmp_path / "clean.png", buffer.getvalue())
    visited.page.check("#auto")
    apply(visited)
    expect(visited.page.locator("#warnings")).to_contain_text("looks clean already")
    expect(visited.page.locator("#figures")).to_contain_text("Confidence")
    expect(visited.page.locator("main")).not_to_contain_text("looks-clean")


def test_pictures_that_count_photons(visited: Visit, service: Live, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(np.linspace(5, 60, 120)[None].repeat(90, 0))
    noisy = png_of((3 * counts).clip(0, 255).astype(np.uint8))
    choose(visited, tmp_path / "noisy.png", noisy)
    visited.page.check("#photons")
    expect(visited.page.locator("#color")).to_be_hidden()
    visited.page.locator("#gain").fill("3")
    apply(visited)
    figures = visited.page.locator("#figures")
    for text in ("Gain3", "Read noiseσ", "Confidence"):
        expect(figures).to_contain_text(text)
    expect(visited.page.locator("#command")).to_contain_text("noise=poisson&gain=3")
    expected = service.denoise(noisy, sigma="auto", noise="poisson", gain=3)
    assert download(visited, tmp_path).read_bytes() == expected.content
    visited.page.check("#auto")
    expect(visited.page.locator("#command")).not_to_contain_text("poisson")


def test_noise_is_added_to_a_clean_picture_and_removed(visited: Visit, tmp_path: Path) -> None:
    choose(visited, tmp_path / "clean.png", png(60, 80, 3))
    visited.page.get_by_text("Try it on a clean picture").click()
    visited.page.locator("#trial-sigma").fill("30")
    visited.page.click("#trial-start")
    expect(visited.page.locator("#showing")).to_have_text("Noise added and removed")
    expect(visited.page.locator("#figures")).to_contain_text("PSNR")
    visited.page.click("#trial-end")
    expect(visited.page.locator("#showing")).to_have_text("Not denoised yet")


def test_the_request_is_there_as_a_command(visited: Visit, service: Live, tmp_path: Path) -> None:
    choose(visited, tmp_path / "it's noisy.png", png(60, 80, 3))
    visited.page.select_option("#format", "webp")
    words = shlex.split(visited.page.locator("#command").text_content() or "")
    assert words[0] == "curl"
    assert words[words.index("-o") + 1] == "it's noisy-denoised.webp"
    assert words[words.index("-F") + 1] == "image=@it's noisy.png"
    answer = service.client.post(words[-1], content=png(60, 80, 3))
    assert answer.headers["content-type"] == "image/webp"
    visited.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visited.page.get_by_text("The request as a command").click()
    visited.page.click("#copy")
    expect(visited.page.locator("#copy-state")).to_have_text("Copied.")
    assert shlex.split(visited.page.evaluate("navigator.clipboard.readText()")) == words
