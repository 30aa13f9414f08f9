"""Servers on the loopback interface, each in a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2


@dataclass
class Running:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str

    def metric(self, name: str) -> float:
        """Return a metric, summed over all labels; 0 if the server does not have it."""
        text = httpx2.get(f"{self.url}/metrics", timeout=30).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))

    def buckets(self, name: str) -> dict[float, float]:
        """Return the cumulative counts of a histogram by upper bound; empty if the server does not have it."""
        text = httpx2.get(f"{self.url}/metrics", timeout=30).text
        return {float(le): float(count) for le, count in re.findall(rf'{name}_bucket{{.*?le="([^"]+)".*?}} (\S+)', text)}

    def memory(self) -> tuple[int, int, int]:
        """Return the resident memory in KiB, the number of threads, and the number of open files."""
        folder = Path(f"/proc/{self.process.pid}")
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        return int(fields["VmRSS"].split()[0]), int(fields["Threads"]), len(list((folder / "fd").iterdir()))

    def terminate(self, seconds: float = 120) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def quantile(buckets: dict[float, float], share: float) -> float | None:
    """Return the upper bound of the bucket that contains a quantile, or None without samples.

    Args:
        buckets: Cumulative counts by upper bound.
        share: The quantile, 0 to 1.
    """
    total = max(buckets.values(), default=0.0)
    return next((bound for bound, count in sorted(buckets.items()) if total and count >= share * total), None)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(module: str = "service", **settings: object) -> Iterator[Running]:
    """Run the service, or another module with a server, until the context ends.

    Args:
        module: The module to run, as `python -m MODULE serve --port N`.
        settings: Settings of the service by name, in lower case and without prefix.
    """
    port = free_port()
    environment = os.environ | {f"N3DENOISE_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"N3DENOISE_LOG_LEVEL": "warning", "MALLOC_ARENA_MAX": "2"}
    process = subprocess.Popen([sys.executable, "-m", module, "serve", "--port", str(port)], env=environment)
    running = Running(process, f"http://127.0.0.1:{port}")
    try:
        wait_ready(running)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_ready(running: Running) -> None:
    """Wait until a server is ready.

    Raises:
        RuntimeError: If the process ends, or is not ready after two minutes.
    """
    end = time.monotonic() + 120
    while time.monotonic() < end and running.process.poll() is None:
        try:
            if httpx2.get(f"{running.url}/readyz", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server did not become ready")
