"""Exit codes of the process, as an orchestrator sees them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving.tiny_weights import tiny_weights
from service.api.server import EXIT_LOST, EXIT_NOT_STARTED
from tests.support.live import PATIENCE
from tests.support.paths import ROOT


def exit_of(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the service until it exits by itself."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--device", "cpu", *arguments]
    environment = os.environ | {"N3DENOISE_DRAIN_DELAY_SECONDS": "0"} | settings
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_broken_weights_end_the_process_with_a_code_of_their_own(tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-10])
    done = exit_of(N3DENOISE_WEIGHTS=str(weights))
    assert done.returncode == EXIT_LOST == 3
    assert "device lost" in done.stderr


@pytest.mark.parametrize("setting", ["N3DENOISE_QUEUE_REQUESTS", "WEB_CONCURRENCY"])
def test_a_wrong_setting_is_named_and_ends_the_process(setting: str) -> None:
    done = exit_of(**{setting: "0"})
    assert done.returncode == 2
    assert setting.removeprefix("N3DENOISE_").lower() in done.stderr.lower()


def test_a_memory_budget_that_is_too_small_ends_the_process_with_a_message_alone(tmp_path: Path) -> None:
    done = exit_of("--memory-budget", "1", N3DENOISE_WEIGHTS=str(tiny_weights(tmp_path)))
    assert done.returncode == EXIT_LOST
    assert "the memory budget must be at least" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_the_process_before_it_says_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = exit_of("--port", str(taken.getsockname()[1]), N3DENOISE_WEIGHTS=str(tiny_weights(tmp_path)))
    assert done.returncode == EXIT_NOT_STARTED == 1
    assert "address already in use" in done.stderr
    assert "ready" not in done.stderr.replace("already", "")


def test_the_descriptor_limit_rises_to_the_hard_limit() -> None:
    program = (
        "import resource, service.api.server as server\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "server._raise_descriptor_limit()\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "assert soft == hard > 64, (soft, hard)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE, cwd=ROOT)
