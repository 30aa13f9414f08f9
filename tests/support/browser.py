"""Pages of the service in Chromium: nothing may come from another host, and no script may fail."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from tests.support.live import PATIENCE
from tests.support.paths import ROOT

AXE = ROOT / "tests" / "support" / "axe-core" / "axe.min.js"

# The browser reports refused requests, which are not failures of the page, in the same way as failures.
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (401|404|409|422|429|503)")


@dataclass
class Visit:
    """A page that is open, and what it has asked for."""

    page: Page
    requests: list[Request] = field(default_factory=list)

    def sent(self, method: str, path: str) -> list[Request]:
        """Return the requests with this method whose path matches a regular expression."""
        host = re.escape(self.page.url.split("/", 3)[2])
        pattern = re.compile(f"http://{host}{path}")
        return [each for each in self.requests if each.method == method and pattern.match(each.url)]

    def row(self, name: str) -> Locator:
        """Return the row of a picture in the list."""
        return self.page.locator("#queue .row").filter(has=self.page.get_by_text(name, exact=True))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, or skip the test."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, address: str, **options: Any) -> Iterator[Visit]:
    """Open a page in a context of its own, and check what it did when the test is over."""
    context = browser.new_context(**options)
    page = context.new_page()
    opened = Visit(page)
    errors: list[str] = []
    page.on("request", lambda request: opened.requests.append(request))  # noqa: PLW0108 (Playwright marks the function)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: errors.append(message.text) if message.type == "error" and not _REFUSED.match(message.text) else None,
    )
    page.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    page.goto(address)
    yield opened
    host = address.split("/", 3)[2]
    elsewhere = [each.url for each in opened.requests if not each.url.startswith((f"http://{host}/", f"blob:http://{host}/"))]
    context.close()
    assert not elsewhere
    assert not errors


@contextmanager
def open_page(browser: Browser, address: str, width: int, **options: Any) -> Iterator[Page]:
    """Open a page into which axe-core can be injected, which the policy of the pages does not allow."""
    viewport = {"width": width, "height": 900}
    with visit(browser, address, viewport=viewport, reduced_motion="reduce", bypass_csp=True, **options) as opened:
        yield opened.page


def violations(page: Page) -> list[str]:
    """Return what axe-core finds: the rule, and the elements."""
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in found]


def download(visited: Visit, folder: Path) -> Path:
    """Save the first result of the list in a folder, and return its path."""
    with visited.page.expect_download() as event:
        visited.page.locator("#queue .save").first.click()
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path
