"""The stage of the page: zoom, ways to compare, and the neighbors of a pixel."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import visit
from tests.support.live import Live, png_of

NOISE = np.random.default_rng(0).standard_normal((300, 1500, 3))
PICTURE = png_of((128 + np.where(np.arange(1500) < 750, 5, 30)[:, None] * NOISE).clip(0, 255).astype(np.uint8))
PLACES = "() => [...document.querySelectorAll('.scene')].map(scene => scene.style.transform)"


@pytest.fixture(scope="module")
def opened(browser: Browser, service: Live) -> Iterator[Page]:
    """The page with a result."""
    with visit(browser, f"http://127.0.0.1:{service.port}/", viewport={"width": 1400, "height": 900}) as visited:
        page = visited.page
        page.uncheck("#live")
        page.check("#by-hand")
        page.set_input_files("#image", {"name": "noisy.png", "mimeType": "image/png", "buffer": PICTURE})
        page.click("#apply")
        expect(page.locator("#showing")).to_have_text("Result")
        yield page


@pytest.fixture
def page(opened: Page) -> Page:
    """The page with the whole picture under the slider, whatever the test before did."""
    opened.check("#compare-slider")
    opened.locator("#strength").fill("100")
    opened.locator("#slider").fill("50")
    if opened.locator("#neighbors").get_attribute("aria-pressed") == "true":
        opened.click("#neighbors")
    opened.click("#zoom-fit")
    return opened


def both(page: Page) -> Any:
    """Return where both pictures are, which is the same place."""
    page.wait_for_function(f"() => new Set(({PLACES})()).size === 1")
    return page.evaluate(PLACES)[0]


def zoom(page: Page) -> int:
    return int((page.locator("#zoom").text_content() or "").removesuffix(" %"))


def test_both_pictures_zoom_together_by_wheel_buttons_and_keys(page: Page) -> None:
    fitted = zoom(page)
    assert fitted < 100
    start = both(page)
    page.locator("#stage").hover()
    page.mouse.wheel(0, -300)
    expect(page.locator("#zoom")).not_to_have_text(f"{fitted} %")
    assert both(page) != start
    page.click("#zoom-full")
    expect(page.locator("#zoom")).to_have_text("100 %")
    both(page)
    page.locator("#stage").focus()
    for _ in range(10):
        page.keyboard.press("+")
    expect(page.locator("#zoom")).to_have_text("400 %")
    before = both(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"before => ({PLACES})()[0] !== before", arg=before)
    page.keyboard.press("0")
    expect(page.locator("#zoom")).to_have_text(f"{fitted} %")
    assert both(page) == start


def test_a_picture_is_moved_by_dragging(page: Page) -> None:
    page.click("#zoom-full")
    before = both(page)
    box = page.locator("#stage").bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 130, steps=4)
    page.mouse.up()
    page.wait_for_function(f"before => ({PLACES})()[0] !== before", arg=before)
    both(page)


def test_the_divider_moves_by_steps_of_1_and_10(page: Page) -> None:
    slider = page.locator("#slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    page.keyboard.press("Shift+ArrowLeft")
    expect(slider).to_have_value("41")
    page.keyboard.press("Shift+ArrowUp")
    expect(slider).to_have_value("51")
    assert page.locator("#stage").evaluate("stage => stage.style.getPropertyValue('--at')") == "0.51"
    line, stage = page.locator("#line").bounding_box(), page.locator("#stage").bounding_box()
    assert line
    assert stage
    assert abs(line["x"] + line["width"] / 2 - stage["x"] - 0.51 * stage["width"]) < 2


def test_the_original_shows_while_a_button_or_a_key_is_held(page: Page) -> None:
    denoised = page.locator("#pane-after")
    expect(denoised).to_have_css("visibility", "visible")
    page.locator("#hold").hover()
    page.mouse.down()
    expect(denoised).to_have_css("visibility", "hidden")
    page.mouse.up()
    expect(denoised).to_have_css("visibility", "visible")
    for place, key in (("#hold", " "), ("#stage", "o")):
        page.locator(place).focus()
        page.keyboard.down(key)
        expect(denoised).to_have_css("visibility", "hidden")
        page.keyboard.up(key)
        expect(denoised).to_have_css("visibility", "visible")


def test_pictures_stand_side_by_side_or_as_their_difference(page: Page) -> None:
    page.get_by_label("Side by side").check()
    both(page)
    left, right = page.locator("#pane-before").bounding_box(), page.locator("#pane-after").bounding_box()
    assert left
    assert right
    assert left["x"] + left["width"] <= right["x"]
    page.get_by_label("Difference").check()
    expect(page.locator("#after")).to_have_css("mix-blend-mode", "difference")
    page.locator("#strength").fill("50")
    expect(page.locator(".layers")).to_have_css("filter", "brightness(4)")


def test_a_click_shows_the_neighbors_of_a_pixel(page: Page, service: Live) -> None:
    page.click("#neighbors")
    page.click("#zoom-full")
    with page.expect_response("**/v1/neighbors?*") as answer:
        page.locator("#stage").click(position={"x": 450, "y": 200})
    found = answer.value.json()
    about = page.locator("#neighbors-about")
    expect(about).to_contain_text(f"Neighbor 1 of {len(found['neighbors'])}")
    outlines = page.locator("#scene-after .overlay .neighbor")
    assert outlines.count() > 0
    query = page.locator("#scene-after .overlay .query")
    assert query.get_attribute("width") == str(found["patch_size"])
    x, y = (int(page.locator(f"#neighbor-{axis}").input_value()) for axis in "xy")
    left, top = (int(query.get_attribute(axis) or "") for axis in "xy")
    assert left <= x < left + found["patch_size"]
    assert top <= y < top + found["patch_size"]
    whole = service.client.post("/v1/neighbors", content=PICTURE, params={"x": x, "y": y, "sigma": 25}).json()
    assert (whole["query"]["x"], whole["query"]["y"]) == (left, top)
    heaviest = [neighbor["candidates"][0]["weight"] for neighbor in found["neighbors"]]
    assert heaviest == pytest.approx([neighbor["candidates"][0]["weight"] for neighbor in whole["neighbors"]], abs=1e-5)
    page.click("#neighbor-next")
    expect(about).to_contain_text("Neighbor 2 of")
    first = page.locator("#neighbor-weights li").first
    weight = found["neighbors"][1]["candidates"][0]["weight"]
    expect(first).to_contain_text(f"{weight * 100:.{1 if weight < 0.1 else 0}f} %")


def test_a_map_shows_where_the_noise_is(page: Page) -> None:
    with page.expect_response("**/v1/noise?*") as answer:
        page.click("#noise-map")
    heat = page.locator("#scene-after .heat")
    expect(heat).to_be_visible()
    assert heat.evaluate("canvas => [canvas.width, canvas.height, canvas.style.width]") == [188, 38, "1504px"]
    assert heat.evaluate("canvas => canvas.style.clipPath") == "inset(0px 4px 4px 0px)"
    drawn = np.array(heat.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 188, 38).data]")).reshape(38, 188, 4)
    strong, weak = drawn[5:33, 105:180, 1].mean(), drawn[5:33, 8:80, 1].mean()
    assert strong < weak - 100, "red has less green than yellow"
    expect(page.locator("#noise-about")).to_contain_text(f"Noise level σ {answer.value.json()['sigma']:.1f} on average, from ")
    page.click("#noise-map")
    expect(heat).to_be_hidden()
    expect(page.locator("#noise-about")).to_be_empty()


def test_the_position_of_a_pixel_can_be_typed(page: Page) -> None:
    page.click("#neighbors")
    page.locator("#neighbor-x").fill("1400")
    page.locator("#neighbor-y").fill("30")
    page.keyboard.press("Enter")
    expect(page.locator("#neighbors-about")).to_contain_text("Neighbor 1 of")
    left = int(page.locator("#scene-after .overlay .query").get_attribute("x") or "")
    assert 1400 - 20 < left <= 1400


def look(page: Page, x: int, y: int) -> None:
    page.locator("#neighbor-x").fill(str(x))
    page.locator("#neighbor-y").fill(str(y))
    page.keyboard.press("Enter")


def test_another_model_is_looked_at_in_its_first_block(page: Page) -> None:
    about, block = page.locator("#neighbors-about"), page.locator("#neighbor-block")
    page.click("#neighbors")
    page.select_option("#model", "n3net")
    look(page, 700, 30)
    expect(block.locator("option")).to_have_count(2)
    page.select_option("#neighbor-block", "2")
    expect(about).to_contain_text("in block 2")
    with page.expect_response("**/v1/neighbors?*model=n3unet*") as answer:
        page.select_option("#model", "n3unet")
    assert answer.value.json()["block"] == 1
    expect(about).to_contain_text("in block 1")
    expect(block.locator("option")).to_have_count(1)
    expect(block).to_have_value("1")
    page.select_option("#model", "auto")


def test_a_block_is_forgotten_with_its_model_before_the_next_look(page: Page) -> None:
    about, block = page.locator("#neighbors-about"), page.locator("#neighbor-block")
    page.select_option("#model", "n3net")
    page.click("#neighbors")
    look(page, 700, 30)
    expect(block.locator("option")).to_have_count(2)
    page.select_option("#neighbor-block", "2")
    expect(about).to_contain_text("in block 2")
    page.click("#neighbors")
    page.select_option("#model", "auto")
    page.click("#neighbors")
    expect(block).to_have_value("1")
    look(page, 700, 30)
    expect(about).to_contain_text("in block 1")


def test_the_page_says_that_neighbors_ignore_photon_noise(page: Page) -> None:
    about = page.locator("#neighbors-about")
    page.click("#neighbors")
    look(page, 700, 30)
    expect(about).to_contain_text("Neighbor 1 of")
    expect(about).not_to_contain_text("Photon noise")
    page.check("#photons")
    look(page, 700, 30)
    expect(about).to_contain_text("Photon noise is not taken into account")
    page.check("#by-hand")
