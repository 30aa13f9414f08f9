"""Several pictures on the page: their states, progress, cancellation, retries, and the archive of all results."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import Visit, visit
from tests.support.faulty import Gate, scripted
from tests.support.live import Live, live, png, settings_for

STATES = """() => {
  window.seen = [];
  const look = () => {
    for (const row of document.querySelectorAll("#queue .row")) {
      const bar = row.querySelector("progress");
      seen.push([row.dataset.state, bar.value, row.querySelector(".state").textContent]);
    }
  };
  new MutationObserver(look).observe(document.getElementById("queue"), {subtree: true, childList: true, attributes: true});
}"""


def photograph(width: int, height: int) -> bytes:
    """A gray JPEG with a gradient and some noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width]
    gray = (60 + 120 * rows / height + 40 * columns / width).astype(np.float32)
    noise = rng.standard_normal((256, 256), dtype=np.float32) * 8
    gray += np.tile(noise, (height // 256 + 1, width // 256 + 1))[:height, :width]
    buffer = io.BytesIO()
    Image.fromarray(gray.astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def ten_with_one_bad(folder: Path) -> list[Path]:
    paths = [folder / f"picture {index}.png" for index in range(10)]
    for index, path in enumerate(paths):
        path.write_bytes(png(40 + index, 50, 3, seed=index))
    paths[4].write_bytes(paths[4].read_bytes()[:-40])
    return paths


def drop(page: Page, *paths: Path) -> None:
    """Drop files and folders onto the page, as a file manager does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


def test_ten_pictures_one_of_them_bad_end_in_an_archive_of_nine(visited: Visit, tmp_path: Path) -> None:
    page = visited.page
    drop(page, *ten_with_one_bad(tmp_path))
    page.click("#apply-all")
    expect(page.locator("#queue .row[data-state=succeeded]")).to_have_count(9)
    expect(visited.row("picture 4.png").locator(".state")).to_contain_text("Failed: The image cannot be decoded")
    expect(page.locator("#totals")).to_have_text("10 pictures, 9 done, 1 failed")
    expect(page.locator("#status")).to_contain_text("failed: picture 4.png")
    with page.expect_download() as event:
        page.click("#save-all")
    event.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [f"picture {index}-denoised.png" for index in range(10) if index != 4]
        for name in archive.namelist():
            index = int(name.split()[1][0])
            assert Image.open(io.BytesIO(archive.read(name))).size == (50, 40 + index)


def test_names_in_the_archive_differ(visited: Visit, tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "same.png", tmp_path / "other" / "same.png"]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(png(40, 50, seed=seed))
    visited.page.set_input_files("#image", paths[0])
    visited.page.set_input_files("#image", paths[1])
    visited.page.click("#apply-all")
    with visited.page.expect_download() as event:
        visited.page.click("#save-all")
    event.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.namelist() == ["same-denoised.png", "same (2)-denoised.png"]


def test_pictures_of_a_folder_are_taken_and_other_files_left_out(visited: Visit, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "one.png").write_bytes(png())
    (tmp_path / "inside" / "two.png").write_bytes(png())
    (tmp_path / "notes.txt").write_text("no picture")
    visited.page.set_input_files("#folder", tmp_path)
    expect(visited.page.locator("#queue .row")).to_have_count(2)
    expect(visited.page.locator("#status")).to_have_text("2 pictures added. 1 other file was left out.")


def test_a_folder_can_be_dropped(visited: Visit, tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for name in ("folder/one.png", "folder/inside/two.png", "folder/notes.txt", "three.png"):
        (tmp_path / name).write_bytes(png())
    drop(visited.page, tmp_path / "folder", tmp_path / "three.png")
    for name in ("one.png", "two.png", "three.png"):
        expect(visited.row(name)).to_be_visible()
    expect(visited.page.locator("#status")).to_have_text("3 pictures added. 1 other file was left out.")


def test_a_picture_can_be_pasted(visited: Visit) -> None:
    visited.page.evaluate(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "pasted.png", {type: "image/png"}));
          document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer}));
        }""",
        list(png()),
    )
    expect(visited.row("pasted.png")).to_be_visible()


def test_a_large_photograph_shows_its_progress(visited: Visit, tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(photograph(4000, 3000))
    visited.page.set_input_files("#image", tmp_path / "large.jpg")
    visited.page.evaluate(STATES)
    visited.page.click("#apply")
    expect(visited.page.locator("#showing")).to_have_text("Result")
    seen = visited.page.evaluate("seen")
    assert any(state == "uploading" and 0 < share <= 1 for state, share, _ in seen)
    running = [share for state, share, _ in seen if state == "running"]
    assert any(0 < share < 1 for share in running)
    assert running == sorted(running)
    assert any(re.search(r"Denoising, \d+ %, about .* left", text) for _, _, text in seen)
    assert visited.page.locator("#after").evaluate("image => image.naturalWidth") == 4000


def test_a_picture_is_canceled_and_tried_again(visited: Visit, service: Live, tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(photograph(4000, 3000))
    visited.page.set_input_files("#image", tmp_path / "large.jpg")
    visited.page.click("#apply")
    row = visited.row("large.jpg")
    expect(row).to_have_attribute("data-state", "running")
    with visited.page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".state")).to_have_text("Canceled")
    assert service.client.get(deleted.value.url).json()["status"] == "canceled"
    row.get_by_role("button", name="Try again").click()
    expect(row).to_have_attribute("data-state", "running")
    assert len({each.url for each in visited.sent("PUT", "/v1/jobs")}) == 2
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".state")).to_have_text("Canceled")


def test_a_refused_picture_waits_and_tries_again_by_itself(visited: Visit, tmp_path: Path) -> None:
    refusals = iter([429, 503])

    def refuse(route: Route) -> None:
        status = next(refusals, None)
        if status is None or route.request.method != "PUT":
            route.continue_()
            return
        problem = '{"title": "Too many requests are in progress", "detail": "The queue is full."}'
        route.fulfill(status=status, headers={"Retry-After": "2"}, content_type="application/problem+json", body=problem)

    visited.page.route("**/v1/jobs/**", refuse)
    (tmp_path / "one.png").write_bytes(png(60, 60))
    visited.page.set_input_files("#image", tmp_path / "one.png")
    visited.page.evaluate(STATES)
    visited.page.click("#apply")
    expect(visited.row("one.png").locator(".state")).to_have_text("Done")
    texts = [text for _, _, text in visited.page.evaluate("seen")]
    for left in (2, 1):
        assert f"Too many requests are in progress. The queue is full. Trying again in {left} s." in texts
    assert len({each.url for each in visited.sent("PUT", "/v1/jobs")}) == 1
    assert len(visited.sent("PUT", "/v1/jobs")) == 3


def test_pictures_that_a_full_queue_refuses_wait_for_their_turn(browser: Browser, weights: Path, tmp_path: Path) -> None:
    gate = Gate()
    with (
        live(settings_for(weights, queue_requests=1), scripted(weights, gate)) as service,
        visit(browser, f"http://127.0.0.1:{service.port}/") as visited,
    ):
        for name in ("one.png", "two.png"):
            (tmp_path / name).write_bytes(png(64, 32))
        visited.page.check("#by-hand")
        visited.page.uncheck("#live")
        visited.page.set_input_files("#image", [tmp_path / "one.png", tmp_path / "two.png"])
        visited.page.click("#apply-all")
        refused = visited.page.locator("#queue .row").filter(has_text="Trying again in")
        expect(refused).to_contain_text("The maximum number of requests is in progress.")
        gate.open(99)
        expect(visited.page.locator("#totals")).to_have_text("2 pictures, 2 done")


def test_an_error_is_said_in_words_and_names_the_picture(visited: Visit, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(png()[:-40])
    visited.page.set_input_files("#image", tmp_path / "bad.png")
    visited.page.click("#apply")
    expect(visited.row("bad.png").locator(".state")).to_contain_text("Failed: The image cannot be decoded")
    expect(visited.page.locator("#status")).to_contain_text("bad.png: Failed: The image cannot be decoded")
    expect(visited.row("bad.png").get_by_role("button", name="Try again")).to_be_visible()
