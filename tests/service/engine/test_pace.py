"""Which requests are refused because of the measured rate of a model, and how a rate that is too low recovers."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from models.model_info import ModelInfo
from service.denoising.pipeline import Pass
from service.engine.backend import Backend
from service.engine.compute_thread import MEASURE_SECONDS
from service.engine.engine import SAFETY_FACTOR, Engine
from service.engine.throughput import USUAL_SIDE
from service.errors import TooManyPixels, WouldMissDeadline
from service.imaging.picture import Plane
from service.telemetry.metrics import Metrics
from tests.support.faulty import Scripted, Strip
from tests.support.live import PATIENCE, settings_for


class Other(Scripted):
    """The scripted model under the name of another one, which extends images to 20 pixels along each side."""

    @property
    def info(self) -> ModelInfo:
        return dataclasses.replace(super().info, name="nlm", smallest_side=20)


@asynccontextmanager
async def running(weights: Path, script: Callable[[Strip], object] = lambda _: None) -> AsyncIterator[Engine]:
    """Run an engine with two models, whose rates are set as if they had been measured, and a time limit of 10 seconds.

    Args:
        weights: The weights of both.
        script: What the model that is not the default runs before each strip.
    """

    def load_backend(*_: object) -> Backend:
        models = [Scripted(weights, lambda _: None), Other(weights, script)]
        return Backend(models, lambda: Scripted(weights, lambda _: None))

    engine = Engine(settings_for(weights, timeout_seconds=10), Metrics(), load_backend)
    engine.start()
    async with asyncio.timeout(PATIENCE):
        while engine.trouble is not None:  # noqa: ASYNC110, the compute thread sets no asyncio event
            await asyncio.sleep(0.001)
    for model, value in (("n3unet", 10_000), ("nlm", 100_000)):
        engine.throughput_of(model).best = None
        engine.throughput_of(model).start_again(1e9, 1e9 / value)
    try:
        yield engine
    finally:
        await engine.stop()


def no_more(_: Plane) -> Pass:
    raise AssertionError("there is no further pass")


def test_tiny_images_do_not_change_the_rate(weights: Path) -> None:
    async def scenario() -> None:
        async with running(weights) as engine:
            before = engine.pixels_per_second
            for _ in range(100):
                with engine.admit(1, time.monotonic()) as ticket:
                    await engine.denoise(ticket, Pass(np.ones((1, 1), np.float32), 0.1, index=0, count=1), no_more)
            assert engine.pixels_per_second == before
            engine.admit(85_000, time.monotonic())

    asyncio.run(scenario())


def test_a_rate_that_fell_is_measured_again_and_the_request_is_not_refused_for_good(weights: Path) -> None:
    async def scenario() -> None:
        async with running(weights) as engine:
            for _ in range(200):
                engine.throughput.add(1000, 10)
            with pytest.raises(WouldMissDeadline) as refused:
                engine.admit(80_000, time.monotonic())
            assert int(refused.value.headers["retry-after"]) == 1
            async with asyncio.timeout(PATIENCE):
                while (engine.pixels_per_second or 0) < 10_000:  # noqa: ASYNC110, the compute thread sets no asyncio event
                    await asyncio.sleep(0.001)
            with engine.admit(80_000, time.monotonic()):
                pass
            # The device is not measured for each request that it is too slow for.
            engine.throughput.start_again(1e6, 1e6)
            with pytest.raises(WouldMissDeadline) as again:
                engine.admit(80_000, time.monotonic())
            assert again.value.retry_after == pytest.approx(MEASURE_SECONDS, abs=PATIENCE / 4)
            assert engine.pixels_per_second == 1

    asyncio.run(scenario())


def test_a_model_that_fails_while_it_is_measured_does_not_end_the_process(weights: Path) -> None:
    failed = threading.Event()

    def fail(strip: Strip) -> None:
        if strip.noisy.shape == (USUAL_SIDE, USUAL_SIDE):
            failed.set()
            raise MemoryError

    async def scenario() -> None:
        async with running(weights, script=fail) as engine:
            engine.throughput_of("nlm").start_again(1e6, 1e6)
            engine.throughput_of("nlm").best = 1e9
            with pytest.raises(WouldMissDeadline):
                engine.admit(80_000, time.monotonic(), model="nlm")
            assert await asyncio.to_thread(failed.wait, PATIENCE)
            with engine.admit(32 * 32, time.monotonic()) as ticket:
                plane = np.ones((32, 32), np.float32)
                result = await engine.denoise(ticket, Pass(plane, 0.1, index=0, count=1), no_more)
            np.testing.assert_array_equal(result, plane)
            assert engine.trouble is None

    asyncio.run(scenario())


def test_an_idle_device_measures_a_rate_far_below_the_best_again(weights: Path) -> None:
    async def scenario() -> None:
        engine = Engine(
            settings_for(weights, idle_selftest_seconds=0.01),
            Metrics(),
            lambda *_: Backend([Scripted(weights, lambda _: None)], lambda: Scripted(weights, lambda _: None)),
        )
        engine.start()
        async with asyncio.timeout(PATIENCE):
            while engine.trouble is not None:  # noqa: ASYNC110, the compute thread sets no asyncio event
                await asyncio.sleep(0.001)
            engine.throughput.start_again(1e6, 1e6)
            while (engine.pixels_per_second or 0) < 10:  # noqa: ASYNC110, the compute thread sets no asyncio event
                await asyncio.sleep(0.001)
        await engine.stop()

    asyncio.run(scenario())


def test_each_model_has_its_own_rate(weights: Path) -> None:
    async def scenario() -> None:
        async with running(weights) as engine:
            with engine.admit(500_000, time.monotonic(), model="nlm"):  # 5 seconds; the default model would need 50
                assert engine.backlog_seconds() == pytest.approx(5)
                with pytest.raises(WouldMissDeadline) as refused:
                    engine.admit(60_000, time.monotonic())  # 6 seconds of its own
                assert refused.value.retry_after == pytest.approx(5)
                with engine.admit(30_000, time.monotonic()):
                    assert engine.backlog_seconds() == pytest.approx(8)
            rate = engine.pixels_per_second
            with engine.admit(160_000, time.monotonic(), model="nlm") as ticket:
                await engine.denoise(ticket, Pass(np.ones((400, 400), np.float32), 0.1, index=0, count=1), no_more, "nlm")
                assert ticket.left == pytest.approx(0, abs=1e-6)
            assert engine.pixels_per_second == rate

    asyncio.run(scenario())


def test_the_work_that_is_left_counts_for_the_model_and_the_passes_that_are_run(weights: Path) -> None:
    backlogs: list[float] = []
    engines: list[Engine] = []

    def look(strip: Strip) -> None:
        if strip.noisy.shape == (100, 100):
            backlogs.append(engines[0].backlog_seconds())

    async def scenario() -> None:
        async with running(weights, script=look) as engine:
            engines.append(engine)
            with engine.admit(3 * 10_000, time.monotonic(), passes=3) as ticket:  # 3 seconds, if no other model takes over
                assert engine.backlog_seconds() == pytest.approx(3)
                await engine.denoise(ticket, Pass(np.ones((100, 100), np.float32), 0.1, index=0, count=1), no_more, "nlm")
            assert backlogs[0] == pytest.approx(0.1, rel=0.01)

    asyncio.run(scenario())


def test_the_fixed_time_of_passes_counts(weights: Path) -> None:
    async def scenario() -> None:
        async with running(weights) as engine:
            for _ in range(1000):
                engine.throughput.add(400, 1.04, pass_pixels=400)  # 40 ms for the pixels
            with engine.admit(2400, time.monotonic(), passes=6):
                assert engine.backlog_seconds() == pytest.approx(6.24)
                with pytest.raises(WouldMissDeadline):
                    engine.admit(1200, time.monotonic(), passes=3)

    asyncio.run(scenario())


def test_the_limit_counts_the_pixels_of_the_image_and_the_message_names_the_command(weights: Path) -> None:
    async def scenario() -> None:
        async with running(weights) as engine:
            with pytest.raises(TooManyPixels) as hopeless:
                engine.admit(24 * 5000, time.monotonic(), passes=24, image_pixels=5000)
            assert hopeless.value.members["limit_pixels"] == int(100_000 / SAFETY_FACTOR / 24)
            assert "`n3denoise denoise`" in hopeless.value.detail

    asyncio.run(scenario())


def test_a_thin_image_counts_with_the_rows_that_the_model_computes(weights: Path) -> None:
    assert Other(weights, lambda _: None).info.network_pixels(1, 1000) == 20_000
