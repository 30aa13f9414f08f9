"""A real server over a real socket, on a tiny network, for the tests of the service."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.api.server import Server
from service.engine.engine import Engine, LoadBackend
from service.settings import Settings
from service.telemetry.metrics import Metrics

PATIENCE = 60.0  # generous, for a busy machine; nothing here takes a second on an idle one


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def png(height: int = 48, width: int = 40, channels: int = 1, seed: int = 0) -> bytes:
    """A noisy picture file."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return png_of(np.random.default_rng(seed).integers(40, 200, shape, dtype=np.uint8))


def png_of(samples: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Live:
    """A server that runs in a thread."""

    server: Server
    thread: threading.Thread
    client: httpx2.Client
    port: int

    @property
    def engine(self) -> Engine:
        return self.server.engine

    def denoise(self, data: bytes | None = None, **options: Any) -> httpx2.Response:
        parameters = {"sigma": 25, **options}
        return self.client.post("/v1/denoise", content=png() if data is None else data, params=parameters)

    def metric(self, name: str, **labels: str) -> float:
        return self.engine.metrics.registry.get_sample_value(name, labels) or 0.0


def settings_for(weights: Path | str, **changes: Any) -> Settings:
    given = {"port": 0, "weights": str(weights), "device": "cpu", "dtype": "float32", "drain_delay_seconds": 0}
    return Settings.model_validate(given | changes)


@contextmanager
def live(settings: Settings, load_backend: LoadBackend | None = None, *, ready: bool = True) -> Iterator[Live]:
    """Run a server until the context ends."""
    metrics = Metrics()
    engine = Engine(settings, metrics, load_backend) if load_backend else Engine(settings, metrics)
    server = Server(settings, engine)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        if ready:
            wait_for(lambda: engine.trouble is None or not thread.is_alive())
            assert thread.is_alive(), "the server did not start"
        listeners = [listener for one in server.servers for listener in one.sockets]  # none once it has ended
        port = listeners[0].getsockname()[1] if listeners else 0
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            yield Live(server, thread, client, port)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
