"""The files of the page: what is served, under which policy, and that vendored files are those that were published."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from service.denoising.estimation import WARNINGS
from service.imaging.picture import CONVERSIONS
from tests.support.live import Live
from tests.support.paths import ROOT

WEB = ROOT / "service" / "web"
SCRIPTS = sorted((WEB / "scripts").glob("*.js"))
VENDORED = (WEB / "vendor", ROOT / "tests" / "support" / "axe-core")


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.name)
def test_vendored_files_are_those_that_were_published(folder: Path) -> None:
    listed = json.loads((folder / "vendor.json").read_text(encoding="utf-8"))
    hashes = {name: digest for package in listed for name, digest in package["sha256"].items()}
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert present.keys() - {"vendor.json"} == hashes.keys()
    assert {name: hashlib.sha256(present[name].read_bytes()).hexdigest() for name in hashes} == hashes
    for package in listed:
        assert package.keys() == {"name", "version", "license", "sha256"}
        assert any("LICENSE" in name.upper() for name in package["sha256"])


def test_every_file_that_a_page_names_is_served_from_the_service(service: Live) -> None:
    for address in ("/", "/docs"):
        page = service.client.get(address)
        assert page.headers["content-type"].startswith("text/html")
        named = re.findall(r'(?:src|href)="([^"]+\.\w+)"', page.text)
        assert named
        for path in named:
            assert path.startswith("/web/")
            assert service.client.get(path).status_code == 200
        assert not re.search(r"<script(?![^>]* src=)|style=| on\w+=", page.text)


def test_every_import_of_a_script_is_served(service: Live) -> None:
    for script in SCRIPTS:
        for name in re.findall(r'from "([^"]+)"', script.read_text(encoding="utf-8")):
            path = (script.parent / name).resolve().relative_to(WEB).as_posix()
            answer = service.client.get(f"/web/{path}")
            assert answer.status_code == 200, (script, name)
            assert "javascript" in answer.headers["content-type"]


def test_files_are_revalidated_and_not_sent_again(service: Live) -> None:
    first = service.client.get("/web/page.css")
    assert first.headers["cache-control"] == "no-cache"
    again = service.client.get("/web/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/web/other.js", "/web/..%2Fsettings.py", "/web/../settings.py", "/web/", "/web/scripts"])
def test_no_other_file_is_served(service: Live, path: str) -> None:
    answer = service.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/", "/docs", "/web/scripts/main.js", "/v1/info"])
def test_no_policy_allows_inline_code_or_another_host(service: Live, path: str) -> None:
    policy = service.client.get(path).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_every_element_that_a_script_asks_for_is_on_the_page() -> None:
    ids = set(re.findall(r'id="([\w-]+)"', (WEB / "index.html").read_text(encoding="utf-8")))
    for script in SCRIPTS:
        assert set(re.findall(r'by\("([\w-]+)"\)', script.read_text(encoding="utf-8"))) <= ids, script


def test_scripts_stay_small() -> None:
    assert not [script for script in SCRIPTS if len(script.read_text(encoding="utf-8").splitlines()) > 160]


def test_nothing_moves_for_those_who_prefer_reduced_motion() -> None:
    for sheet in WEB.glob("*.css"):
        lines = sheet.read_text(encoding="utf-8").splitlines()
        moving = [line for line in lines if re.search(r"transition|animation|scroll-behavior|@keyframes", line)]
        assert all(line.startswith("@media (prefers-reduced-motion: no-preference) {") for line in moving), sheet


def test_every_warning_has_words_that_say_what_to_do() -> None:
    words = (WEB / "scripts" / "words.js").read_text(encoding="utf-8")
    general, enlarging = words.split("const ADVICE_ON_ENLARGING")
    advice, special = (dict(re.findall(r'^  "([\w-]+)": `(.+)`,$', part, re.MULTILINE)) for part in (general, enlarging))
    assert advice.keys() == WARNINGS.keys()
    assert special.keys() == {"too-small", "looks-clean", "not-white"}
    assert "and then enlarge the result." in special.pop("not-white")
    assert all(text.endswith("${BY_HAND}.") for text in special.values())
    assert "Replace these samples" in advice.pop("outliers")
    assert all(text.endswith("${BY_HAND}.") for code, text in advice.items() if code not in CONVERSIONS)
