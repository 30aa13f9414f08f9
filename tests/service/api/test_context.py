"""The threads for decoding and encoding: each stage has its own, and so have small pictures."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.api.context import SMALL_PIXELS, AppContext, PooledStage
from service.engine.engine import Engine
from service.imaging import codec
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record
from tests.support.faulty import scripted
from tests.support.live import PATIENCE, live, png, png_of, settings_for, wait_for

LARGE = png_of(np.full((1000, SMALL_PIXELS // 1000), 100, np.uint8))
THREADS = 2


class Jam:
    """A function of the codec that stops at large pictures until `open` is set, and runs through for small ones."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.arrived = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, first: Any, *rest: Any) -> Any:
        size = first.header.pixels if isinstance(first, codec.ImageFile) else first.planes.size
        if size == SMALL_PIXELS:
            self.arrived.release()
            assert self.open.wait(PATIENCE)
        return self.function(first, *rest)


@pytest.mark.parametrize(("owner", "name"), [(codec.ImageFile, "decode"), (codec, "encode")])
def test_a_small_picture_does_not_wait_for_the_codecs_of_large_ones(
    owner: Any, name: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jam = Jam(getattr(owner, name))
    monkeypatch.setattr(owner, name, partialmethod(jam) if owner is codec.ImageFile else jam)
    settings = settings_for(weights, codec_threads=THREADS)
    with (
        live(settings, scripted(weights, lambda _: None)) as service,
        ThreadPoolExecutor(THREADS) as clients,
    ):
        large = [clients.submit(service.denoise, LARGE) for _ in range(THREADS)]
        try:
            for _ in large:
                assert jam.arrived.acquire(timeout=PATIENCE)
            assert service.denoise(png(32, 32)).status_code == 200
            assert not any(answer.done() for answer in large)
        finally:
            jam.open.set()
        assert [answer.result(PATIENCE).status_code for answer in large] == [200] * THREADS


@pytest.fixture
def opened() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_stuck_thread_is_noticed(opened: threading.Event, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = codec.ImageFile.decode

    def slow(image: codec.ImageFile) -> Any:
        assert opened.wait(PATIENCE)
        return decode(image)

    monkeypatch.setattr(codec.ImageFile, "decode", slow)
    with (
        capture_logs() as lines,
        live(settings_for(weights, hang_seconds=5)) as service,
        ThreadPoolExecutor(1) as clients,
    ):
        assert service.client.get("/readyz").status_code == 200
        answer = clients.submit(service.denoise)
        wait_for(lambda: service.client.get("/readyz").status_code == 503)
        assert "decoding" in service.client.get("/readyz").json()["detail"]
        assert (service.metric("denoise_stuck_threads"), service.metric("denoise_ready")) == (1, 0)
        assert service.client.get("/livez").status_code == 200
        wait_for(lambda: any(line["event"] == "stuck thread" for line in lines))
        opened.set()
        assert answer.result(PATIENCE).status_code == 200
        assert service.client.get("/readyz").status_code == 200
        assert (service.metric("denoise_stuck_threads"), service.metric("denoise_ready")) == (0, 1)
    (line,) = [line for line in lines if line["event"] == "stuck thread"]
    assert (line["log_level"], line["stage"]) == ("warning", "decode")
    assert line["id"] == answer.result().headers["x-request-id"]
    assert line["seconds"] >= 5


@pytest.mark.parametrize("blocked", get_args(PooledStage))
def test_a_stage_does_not_wait_for_another(blocked: PooledStage, opened: threading.Event, weights: Path) -> None:
    settings = settings_for(weights, codec_threads=THREADS)
    metrics = Metrics()
    context = AppContext(settings, metrics, Engine(settings, metrics))

    async def scenario() -> None:
        current_record().pixels = SMALL_PIXELS
        waiting = [asyncio.create_task(context.run_stage(blocked, opened.wait, PATIENCE)) for _ in range(THREADS + 1)]
        async with asyncio.timeout(PATIENCE):
            for stage in get_args(PooledStage):
                if stage != blocked:
                    name = await context.run_stage(stage, lambda: threading.current_thread().name)
                    assert name.startswith(f"{stage}-large")
        assert not any(task.done() for task in waiting)
        opened.set()
        assert all(await asyncio.gather(*waiting))

    asyncio.run(scenario())
    context.close()
