"""The stage by touch: one finger moves the picture, and two zoom it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.support.browser import visit
from tests.support.live import Live, png

Point = tuple[float, float]
PLACE = """([x, y]) => {
  const [before, after] = [...document.querySelectorAll(".scene")];
  const box = after.getBoundingClientRect();
  const together = before.style.transform === after.style.transform;
  return together && [(x - box.left) / box.width * 1000, (y - box.top) / box.height * 600, box.width / 1000];
}"""


@dataclass
class Touched:
    """The page with a result on a touch screen."""

    page: Page
    session: CDPSession

    def touch(self, kind: str, *points: Point) -> None:
        """Send a touch event as the touch screen does: all fingers that touch it, or none at the end."""
        fingers = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    def move(self, before: list[Point], after: list[Point], steps: int = 10) -> None:
        """Put down the fingers one after another, move them, and lift them."""
        for count in range(1, len(before) + 1):
            self.touch("touchStart", *before[:count])
        for step in range(1, steps + 1):
            self.touch("touchMove", *(between(*pair, step / steps) for pair in zip(before, after, strict=True)))
        self.touch("touchEnd")

    def places(self, point: Point) -> Any:
        """Return which pixel of the denoised picture is at a point of the window, and the zoom, which both pictures share."""
        return self.page.wait_for_function(PLACE, arg=point).json_value()  # the page draws them one after another

    def expect_at(self, point: Point, pixel: Point, zoom: int) -> None:
        expect(self.page.locator("#zoom")).to_have_text(f"{zoom} %")
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        assert self.places(point) == pytest.approx([*pixel, zoom / 100], abs=0.51)


def between(one: Point, other: Point, share: float) -> Point:
    return one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])


@pytest.fixture(params=["slider", "side", "difference"])
def touched(request: pytest.FixtureRequest, browser: Browser, service: Live) -> Iterator[Touched]:
    with visit(browser, f"http://127.0.0.1:{service.port}/", viewport={"width": 1300, "height": 900}, has_touch=True) as opened:
        page = opened.page
        page.uncheck("#live")
        page.check("#by-hand")
        page.set_input_files("#image", {"name": "noisy.png", "mimeType": "image/png", "buffer": png(600, 1000)})
        page.click("#apply")
        expect(page.locator("#showing")).to_have_text("Result")
        page.check(f"input[name=compare][value={request.param}]")
        page.click("#zoom-full")
        expect(page.locator("#zoom")).to_have_text("100 %")
        yield Touched(page, page.context.new_cdp_session(page))


def test_two_fingers_zoom_around_the_point_between_them(touched: Touched) -> None:
    pane = touched.page.locator("#pane-after").bounding_box()
    assert pane
    x, y = pane["x"] + 0.4 * pane["width"], pane["y"] + 0.4 * pane["height"]
    left, top, _ = touched.places((x, y))
    near, far = [(x - 30, y), (x + 30, y)], [(x - 60, y), (x + 60, y)]
    touched.move(near, far)
    touched.expect_at((x, y), (left, top), 200)
    touched.move([(x, y - 10), (x, y + 10)], [(x, y - 100), (x, y + 100)])  # further than the largest zoom
    touched.expect_at((x, y), (left, top), 400)
    touched.move(far, [(x - 15, y), (x + 15, y)])
    touched.expect_at((x, y), (left, top), 100)
    touched.move(near, [(x + 20, y + 20), (x + 80, y + 20)])
    touched.expect_at((x + 50, y + 20), (left, top), 100)


def test_one_finger_moves_the_picture_also_after_two(touched: Touched) -> None:
    pane = touched.page.locator("#pane-after").bounding_box()
    assert pane
    x, y = pane["x"] + 0.75 * pane["width"], pane["y"] + 0.7 * pane["height"]
    left, top, _ = touched.places((x, y))
    touched.move([(x, y)], [(x - 40, y - 25)])
    touched.expect_at((x - 40, y - 25), (left, top), 100)
    touched.move([(x, y), (x - 60, y)], [(x + 30, y), (x - 90, y)])
    touched.expect_at((x - 30, y), (left + 10, top + 25), 200)
    touched.move([(x, y)], [(x - 40, y - 25)])
    touched.expect_at((x - 70, y - 25), (left + 10, top + 25), 200)
