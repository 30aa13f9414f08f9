"""The page and its files, under a policy that lets nothing else in."""

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from service.api.routes.page import MEDIA_TYPES
from service.denoising.estimation import WARNINGS
from service.imaging.picture import CONVERSIONS
from tests.support.live import Live, live, settings_for


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


def test_the_page_loads_what_it_names_and_nothing_from_elsewhere(service: Live) -> None:
    page = service.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    named = re.findall(r'(?:src|href)="(/web/[^"]+)"', page.text)
    assert sorted(named) == ["/web/page.css", "/web/page.js"]
    for path in named:
        answer = service.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[path.removeprefix("/web/")]
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert not re.search(r'(?:src|href)="https?:[^"]*\.(?:js|css|png|svg)', page.text)
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_every_file_of_the_page_is_served_and_no_other(service: Live) -> None:
    assert {entry.name for entry in (resources.files("service") / "web").iterdir()} == MEDIA_TYPES.keys()
    for path in ("/web/other.js", "/web/..%2Fsettings.py", "/web/../settings.py", "/web/"):
        assert service.client.get(path).status_code == 404


def test_every_element_that_the_script_asks_for_is_on_the_page(service: Live) -> None:
    script = service.client.get("/web/page.js").text
    page = service.client.get("/").text
    assert set(re.findall(r'by\("([\w-]+)"\)', script)) <= set(re.findall(r'id="([\w-]+)"', page))


def test_every_warning_has_words_that_say_what_to_do(service: Live) -> None:
    script = service.client.get("/web/page.js").text
    advice = dict(re.findall(r'^  "([\w-]+)": `(.+)`,$', script, re.MULTILINE))
    assert advice.keys() == WARNINGS.keys()
    assert "Replace these samples" in advice.pop("outliers")
    assert all(text.endswith("${BY_HAND}.") for code, text in advice.items() if code not in CONVERSIONS)


def test_every_input_has_a_label(service: Live) -> None:
    page = service.client.get("/").text
    labeled = set(re.findall(r'<label for="([\w-]+)"', page))
    for content in re.findall(r"<label(?! for)[^>]*>(.*?)</label>", page, re.DOTALL):
        labeled |= set(re.findall(r'<(?:input|select)[^>]* id="([\w-]+)"', content))
    labeled |= set(re.findall(r'<input[^>]* id="([\w-]+)"[^>]* aria-label=', page))
    assert set(re.findall(r'<(?:input|select)[^>]* id="([\w-]+)"', page)) == labeled
    assert "sigma" in labeled
