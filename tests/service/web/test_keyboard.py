"""The page by keyboard alone."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.browser import Visit
from tests.support.live import png

FOCUSED = "() => document.activeElement.id || document.activeElement.className"


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the focus is on an element with this ID or class."""
    passed = []
    for _ in range(120):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        if wanted in passed[-1].split():
            return
    raise AssertionError(f"no way to {wanted}: {passed}")


def test_a_picture_is_chosen_denoised_compared_and_downloaded_without_a_mouse(visited: Visit, tmp_path: Path) -> None:
    page = visited.page
    (tmp_path / "one.png").write_bytes(png(60, 60))
    page.on("filechooser", lambda _: None)  # intercepted from now on; after the key, it may be too late
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "image")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(tmp_path / "one.png")
    expect(page.locator("#showing")).to_have_text("Not denoised yet")
    tab_to(page, "sigma")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#sigma")).to_have_value("25.5")
    tab_to(page, "apply")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("one.png: Done.")
    expect(page.locator("#apply")).to_be_focused()
    tab_to(page, "slider")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#slider")).to_have_value("60")
    tab_to(page, "save")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "one-denoised.png"


def test_the_focus_is_visible_everywhere(visited: Visit, tmp_path: Path) -> None:
    page = visited.page
    (tmp_path / "one.png").write_bytes(png(60, 60))
    page.set_input_files("#image", tmp_path / "one.png")
    expect(page.locator("#showing")).to_have_text("Not denoised yet")
    visible = """() => {
      const focused = document.activeElement;
      if (focused === document.body) return true;
      const shown = [focused, focused.closest("label"), focused.nextElementSibling].filter(Boolean);
      const outlined = shown.some((each) => getComputedStyle(each).outlineStyle !== "none");
      return outlined || focused.id === "slider"; // the handle of the slider, whose style scripts cannot read
    }"""
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate(visible), page.evaluate(FOCUSED)


def test_a_button_that_disappears_leaves_the_focus_in_its_row(visited: Visit, tmp_path: Path) -> None:
    page = visited.page
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(png(60, 60))
        page.set_input_files("#image", tmp_path / name)
    visited.row("one.png").get_by_role("button", name="Remove").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#queue .row")).to_have_count(1)
    expect(visited.row("two.png").locator(".pick")).to_be_focused()
