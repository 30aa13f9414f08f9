"""Admission, fairness, cancellation and deadlines, on a device whose strips the test controls."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from service.denoising.pipeline import Pass
from service.engine.backend import Backend
from service.engine.engine import SAFETY_FACTOR, Engine
from service.errors import DeadlineExceeded, Draining, NotReady, QueueFull, TooManyPixels, WouldMissDeadline
from service.imaging.picture import Plane
from service.telemetry.metrics import Metrics
from tests.support.faulty import Gate, Scripted, Strip, scripted
from tests.support.live import PATIENCE, settings_for


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open(1000)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110, the compute thread sets no asyncio event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(weights: Path, gate: Gate, **changes: Any) -> AsyncIterator[Engine]:
    """Run an engine until it is ready and set its throughput to 10,000 pixels per second."""
    engine = Engine(settings_for(weights, **changes), Metrics(), scripted(weights, gate))
    engine.start()
    await until(lambda: engine.trouble is None)
    engine.throughput.best = None  # the warm-up of a scripted model takes no time
    engine.throughput.start_again(1e12, 1e8)
    try:
        yield engine
    finally:
        gate.open(1000)
        await engine.stop()


def image(strips: int) -> Plane:
    return np.full((16 * strips, 32), strips, np.float32)


def no_more(_: Plane) -> Pass:
    raise AssertionError("there is no further pass")


async def denoise(engine: Engine, strips: int) -> Plane:
    with engine.admit(512 * strips, time.monotonic()) as ticket:
        return await engine.denoise(ticket, Pass(image(strips), sigma=0.1, index=0, count=1), no_more)


def test_strips_of_a_small_image_go_between_those_of_a_large_one(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate) as engine:
            large = asyncio.create_task(denoise(engine, 10))
            await asyncio.to_thread(gate.wait)
            small = asyncio.create_task(denoise(engine, 2))
            await until(lambda: sum(ticket.runnable for ticket in engine.tickets) == 2)
            gate.open(12)
            np.testing.assert_array_equal(await small, image(2))
            np.testing.assert_array_equal(await large, image(10))
        assert gate.strips == [160, 32, 32] + [160] * 9

    asyncio.run(scenario())


def test_a_cancelled_request_costs_at_most_one_more_strip(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate) as engine:
            leaving = [asyncio.create_task(denoise(engine, 5)) for _ in range(20)]
            await asyncio.to_thread(gate.wait)
            staying = asyncio.create_task(denoise(engine, 6))
            await until(lambda: sum(ticket.runnable for ticket in engine.tickets) == 21)
            for task in leaving:
                task.cancel()
            await asyncio.wait(leaving)
            assert len(engine.tickets) == 1
            gate.open(7)
            await staying
        assert gate.strips == [80] + [96] * 6  # one strip of the cancelled requests, then none

    asyncio.run(scenario())


class AtOnce(Scripted):
    """Computes the whole image in one strip and yields no fraction."""

    def steps(self, noisy: Tensor, sigma: float, *, shrink: int = 1) -> Generator[float, None, Tensor]:  # noqa: ARG002
        self.script(Strip(noisy, 0, shrink))
        yield from ()
        return noisy.clone()


@pytest.mark.parametrize("fails", [False, True])
def test_a_result_after_the_caller_left_is_dropped(weights: Path, gate: Gate, fails: bool) -> None:
    def script(strip: Strip) -> None:
        gate(strip)
        if fails and strip.noisy.shape == (16, 32):
            raise ZeroDivisionError

    def load_backend(*_: object) -> Backend:
        return Backend([AtOnce(weights, script)], lambda: AtOnce(weights, lambda _: None))

    async def scenario() -> None:
        raised: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        engine = Engine(settings_for(weights), Metrics(), load_backend)
        engine.start()
        await until(lambda: engine.trouble is None)
        leaving = asyncio.create_task(denoise(engine, 1))
        await asyncio.to_thread(gate.wait)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        gate.open(2)
        # Results come in order: once this one is here, the one that nobody waits for has come, too.
        np.testing.assert_array_equal(await denoise(engine, 2), image(2))
        assert raised == []
        await engine.stop()

    asyncio.run(scenario())


def test_a_full_queue_refuses_and_says_when_to_try_again(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate, queue_requests=2) as engine:
            with engine.admit(30_000, time.monotonic()), engine.admit(20_000, time.monotonic()):
                with pytest.raises(QueueFull) as refused:
                    engine.admit(10, time.monotonic())
                assert refused.value.retry_after == pytest.approx(5.0, rel=1e-3)  # 50,000 pixels at 10,000 a second
                assert refused.value.headers["retry-after"] in ("5", "6")
            engine.admit(10, time.monotonic())

    asyncio.run(scenario())


def test_the_pixels_in_memory_are_limited(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate, queue_megapixels=0.05) as engine:
            with engine.admit(0, time.monotonic(), held=60_000), pytest.raises(QueueFull):  # alone, a request is always admitted
                engine.admit(0, time.monotonic(), held=1)
            with engine.admit(100, time.monotonic(), held=30_000):
                engine.admit(100, time.monotonic(), held=20_000)

    asyncio.run(scenario())


def test_a_request_that_would_end_too_late_is_refused_at_once(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate, timeout_seconds=10) as engine:
            with engine.admit(60_000, time.monotonic()):
                with pytest.raises(WouldMissDeadline) as refused:
                    engine.admit(70_000, time.monotonic())  # 13 seconds with the work ahead
                assert refused.value.retry_after == pytest.approx(6.0, rel=1e-3)
                with engine.admit(30_000, time.monotonic()):
                    # It would be in time itself, but the first one would end after its 10 seconds.
                    with pytest.raises(WouldMissDeadline):
                        engine.admit(20_000, time.monotonic())
                    engine.admit(500, time.monotonic())

    asyncio.run(scenario())


def test_an_image_too_large_for_the_time_limit_is_refused_with_the_largest_size(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate, timeout_seconds=10) as engine:
            with pytest.raises(TooManyPixels) as hopeless:
                engine.admit(95_000, time.monotonic())  # 9.5 seconds: too close to the limit, even with an empty queue
            limit = hopeless.value.members["limit_pixels"]
            assert limit == pytest.approx(100_000 / SAFETY_FACTOR, rel=1e-3)
            assert isinstance(limit, int)
            engine.admit(limit - 9_000, time.monotonic())  # 0.9 seconds less, in case the machine is busy

    asyncio.run(scenario())


def test_a_request_that_arrived_earlier_has_less_time(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate, timeout_seconds=10) as engine:
            with pytest.raises(WouldMissDeadline):
                engine.admit(60_000, time.monotonic() - 5)

    asyncio.run(scenario())


def jump(seconds: float) -> None:
    """Advance the event loop's clock, so that its timers are due."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds  # type: ignore[method-assign]


@pytest.mark.parametrize("seconds", [245, 305])
def test_a_deadline_ends_the_wait_even_while_a_strip_hangs(weights: Path, gate: Gate, seconds: float) -> None:
    async def scenario() -> None:
        async with running(weights, gate, timeout_seconds=300, queue_timeout_seconds=240) as engine:
            hanging = asyncio.create_task(denoise(engine, 1))
            await asyncio.to_thread(gate.wait)
            waiting = asyncio.create_task(denoise(engine, 1))
            await until(lambda: sum(ticket.runnable for ticket in engine.tickets) == 2)
            jump(seconds)
            with pytest.raises(DeadlineExceeded):
                await waiting
            if seconds > 300:
                with pytest.raises(DeadlineExceeded):
                    await hanging
                assert not engine.busy
            else:  # the limit on the wait for the first strip does not apply to a request that has begun
                gate.open()
                np.testing.assert_array_equal(await hanging, image(1))

    asyncio.run(scenario())


def test_a_draining_engine_finishes_admitted_requests(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate) as engine:
            task = asyncio.create_task(denoise(engine, 2))
            await asyncio.to_thread(gate.wait)
            engine.drain()
            assert isinstance(engine.trouble, Draining)
            with pytest.raises(Draining):
                engine.admit(10, time.monotonic())
            assert engine.busy
            gate.open(2)
            np.testing.assert_array_equal(await task, image(2))
            assert not engine.busy

    asyncio.run(scenario())


def test_the_engine_is_not_ready_while_a_strip_hangs(weights: Path, gate: Gate) -> None:
    async def scenario() -> None:
        async with running(weights, gate, hang_seconds=0.05) as engine:
            task = asyncio.create_task(denoise(engine, 1))
            await asyncio.to_thread(gate.wait)
            await until(lambda: engine.hung)
            assert isinstance(engine.trouble, NotReady)
            gate.open()
            await task
            assert not engine.hung
            assert engine.trouble is None

    asyncio.run(scenario())


def test_the_self_test_runs_again_when_idle(weights: Path) -> None:
    runs = []

    def count(strip: Any) -> None:
        if strip.index == 0 and strip.noisy.shape == (72, 88):
            runs.append(1)

    async def scenario() -> None:
        engine = Engine(settings_for(weights, idle_selftest_seconds=0.01), Metrics(), scripted(weights, count))
        engine.start()
        await until(lambda: len(runs) >= 3)
        assert engine.trouble is None
        await engine.stop()

    asyncio.run(scenario())


def test_several_passes_of_one_request_keep_its_place(weights: Path, gate: Gate) -> None:
    resumed: list[tuple[str, Plane]] = []

    def resume(denoised: Plane) -> Pass:
        resumed.append((threading.current_thread().name, denoised))
        return Pass(denoised + 1, 0.1, index=len(resumed), count=3)

    async def scenario() -> None:
        async with running(weights, gate) as engine:
            gate.open(6)
            with engine.admit(3 * 1024, time.monotonic()) as ticket:
                result = await engine.denoise(ticket, Pass(image(2), 0.1, index=0, count=3), resume)
            np.testing.assert_array_equal(result, image(2) + 2)
            assert [thread for thread, _ in resumed] == ["compute"] * 2
            assert gate.strips == [32] * 6
            assert ticket.left == 0
            assert ticket.computing > 0

    asyncio.run(scenario())
