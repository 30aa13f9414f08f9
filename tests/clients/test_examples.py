"""The examples in the README of the client and in docs/clients.md work as written."""

import os
import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest

from tests.support.live import PATIENCE, Live, png
from tests.support.paths import ROOT

ADDRESS = "http://127.0.0.1:8000"
README = (ROOT / "clients" / "python" / "README.md").read_text(encoding="utf-8")
MANUAL = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
# Waits for no time at all, and says for how long it would have waited. Node's own timers are shorter.
FAST = """
const start = globalThis.setTimeout;
globalThis.setTimeout = (call, milliseconds, ...rest) => {
  if (milliseconds >= 1000) console.error(`waits ${milliseconds}`);
  return start(call, milliseconds >= 1000 ? 0 : milliseconds, ...rest);
};
"""
NODE = ["node", "--import", f"data:text/javascript,{quote(FAST)}", "--input-type=module", "-"]
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is missing")


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "noisy.png").write_bytes(png(96, 80, 3))
    return tmp_path


def run(command: list[str], example: str, address: str, folder: Path, *, fails: bool = False) -> str:
    """Run an example as the input of a command, with the address of a server of the test, and return what it prints."""
    assert ADDRESS in example
    example = example.replace(ADDRESS, address)
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        command, input=example, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert bool(done.returncode) == fails, done.stderr
    return done.stderr if fails else done.stdout


PYTHON = {
    "denoise": r"\S+ removed noise of level [\d.]+; warnings: .*\nsigma [\d.]+, confidence [\d.]+\n",
    "in the background": r"(\w+: \d+%, \d+ s left\n)+",
    "step by step": r"(\w+: \d+%\n)*succeeded: 100%\n",
    "async": r"\[\d+, \d+, \d+\]\n",
}


@pytest.mark.parametrize("number", range(len(PYTHON)), ids=list(PYTHON))
def test_python(service: Live, folder: Path, number: int) -> None:
    examples = blocks(README, "python")
    assert len(examples) == len(PYTHON)
    output = run([sys.executable, "-W", "error", "-"], examples[number], f"http://127.0.0.1:{service.port}", folder)
    assert re.fullmatch([*PYTHON.values()][number], output), output
    written = {path.suffix for path in folder.glob("denoised.*")}
    assert written == [{".png"}, {".png"}, {".jpeg", ".tiff"}, set()][number]


def test_the_readme_lists_every_method() -> None:
    from n3denoise_client import Client

    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", README, re.MULTILINE))))
    assert listed == {name for name in dir(Client) if not name.startswith("_")} - {"run", "close"}


def test_curl(service: Live, folder: Path) -> None:
    for example in blocks(MANUAL, "sh"):
        output = run(["sh", "-eu"], example, f"http://127.0.0.1:{service.port}", folder)
    assert (folder / "denoised.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "denoised.tif").read_bytes()[:2] in (b"II", b"MM")
    assert "event: state" in output


@needs_node
def test_javascript(service: Live, folder: Path) -> None:
    (example,) = blocks(MANUAL, "js")
    output = run(NODE, example, f"http://127.0.0.1:{service.port}", folder)
    assert re.match(r"sigma [\d.]+, model \w+\n", output)
    assert output.endswith("succeeded: 100 %\n")
    assert (folder / "denoised.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "denoised.tif").read_bytes()[:2] in (b"II", b"MM")


@needs_node
def test_javascript_waits_as_long_as_it_is_told(folder: Path) -> None:
    (example,) = blocks(MANUAL, "js")
    refusals = []

    class Refusing(BaseHTTPRequestHandler):
        """Refuses the first request, and answers the second one with an error."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            refusals.append(self.path)
            self.send_response(429 if len(refusals) == 1 else 422)
            if len(refusals) == 1:
                self.send_header("Retry-After", "7")
            body = b'{"type": "urn:n3denoise:error:invalid-parameter", "detail": "No such option."}'
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            done = run(NODE, example, f"http://127.0.0.1:{server.server_port}", folder, fails=True)
        finally:
            server.shutdown()
            thread.join(PATIENCE)
    assert len(refusals) == 2
    (waited,) = re.findall(r"waits ([\d.]+)", done)
    assert 7000 <= float(waited) <= 7000 * 1.25
    assert "Error: urn:n3denoise:error:invalid-parameter: No such option." in done
