"""A Redis server in a process of its own, which keeps nothing on disk."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.servers import free_port

MISSING = None if shutil.which("redis-server") else "redis-server is not installed (Debian package redis-server)"
"""Why there can be no Redis server here; None if there can be one."""


@dataclass
class RedisServer:
    """A Redis server that can be stopped and started again.

    Attributes:
        folder: Its working folder.
        port: Its port on the loopback interface.
    """

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RuntimeError: If the program is not installed, or if it does not answer.
        """
        program = shutil.which("redis-server")
        if not program:
            raise RuntimeError(MISSING)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > end:
                raise RuntimeError("Redis does not answer")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill the server; all it holds is lost."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a Redis server on a free port."""
    server = RedisServer(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
