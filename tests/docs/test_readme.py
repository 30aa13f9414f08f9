"""The README is right: its curl lines work against the real service, its commands exist, and all links lead somewhere."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.__main__ import app
from tests.support.live import live, settings_for
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def commands(first: str) -> list[list[str]]:
    lines = "".join(BLOCKS).replace("\\\n", "").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words[0] == first]


def test_the_curl_lines_return_a_better_picture(tmp_path: Path) -> None:
    with live(settings_for("default", dtype="auto")) as service:
        first, second = commands("curl")
        for words in (first, second):
            here = f"http://127.0.0.1:{service.port}"
            command = [word.replace("http://127.0.0.1:8000", here) for word in words]
            command[command.index("denoised.png")] = str(tmp_path / "denoised.png")
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            assert (tmp_path / "denoised.png").read_bytes().startswith(b"\x89PNG")
            if "-D" in command:
                headers = dict(re.findall(r"(x-psnr-\w+): ([\d.]+)", done.stdout))
                promised = dict(re.findall(r"`(x-psnr-\w+): ([\d.]+)…`", README))
                assert promised.keys() == {"x-psnr-noisy", "x-psnr-denoised"}
                assert all(headers[name].startswith(figure) for name, figure in promised.items())
                assert float(headers["x-psnr-denoised"]) > 29.88  # 29.890 in float32, 29.883 in bfloat16


def test_every_command_line_exists() -> None:
    lines = commands(".venv/bin/n3denoise")
    assert len(lines) >= 4
    for words in lines:
        command = [*words[1:2], *(["import"] if words[2] == "import" else [])]
        text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).stdout
        for option in (word for word in words if word.startswith("-") and word != "-o"):
            assert option in text, (words, option)


def test_the_training_that_is_shown_has_an_end() -> None:
    (training,) = (words for words in commands(".venv/bin/n3denoise") if words[1] == "train")
    assert {"--max-minutes", "--steps"} & {*training}


def test_every_make_target_exists() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("serve", "test", "check", "fix", "train", "bench", "load", "endurance", "studies"):
        assert f"make {target}" in listed


FOLDERS = ("docs", "models", "docker", "clients")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), link
