"""A service on a tiny network, and its page in Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, chromium, visit
from tests.support.live import Live, live, settings_for


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def visited(browser: Browser, service: Live) -> Iterator[Visit]:
    """The page, without previews and with a noise level set by hand, which keeps the tests fast."""
    with visit(browser, f"http://127.0.0.1:{service.port}/") as opened:
        opened.page.check("#by-hand")
        opened.page.uncheck("#live")
        yield opened
