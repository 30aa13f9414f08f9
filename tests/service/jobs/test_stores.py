"""What every store of background jobs does, for memory and for a real Redis server."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.serving.redis_server import MISSING, RedisServer, redis_server
from service.errors import JobsFull, JobsUnavailable
from service.imaging.picture import Metadata, Picture
from service.jobs import redis_store
from service.jobs.memory_store import MemoryStore
from service.jobs.redis_store import RedisStore
from service.jobs.result import LEAST_BYTES, JobResult
from service.jobs.state import JobState, now_utc
from service.jobs.store import JobStore
from tests.support.live import PATIENCE

ID, OWNER = "0123456789abcdef", "a" * 64
Scenario = Callable[[JobStore], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.skipif(MISSING is not None, reason=str(MISSING)))])
def run(request: pytest.FixtureRequest) -> Run:
    """Return what runs a scenario with an empty store."""

    def run_with(scenario: Scenario, capacity: int = 10_000_000, keep_seconds: float = 60.0) -> None:
        async def main() -> None:
            if request.param == "memory":
                await scenario(MemoryStore(capacity, keep_seconds))
                return
            server = request.getfixturevalue("redis")
            async with opened(server, capacity, keep_seconds) as store:
                await store._redis.flushdb()
                await scenario(store)

        asyncio.run(main())

    return run_with


@asynccontextmanager
async def opened(server: RedisServer, capacity: int = 10_000_000, keep_seconds: float = 60.0) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, capacity, keep_seconds)
    try:
        yield store
    finally:
        await store.close()


def state(job_id: str = ID, owner: str = OWNER, **changes: Any) -> JobState:
    return JobState(id=job_id, owner=owner, fingerprint="f", created_at=now_utc(), **changes)


def result(size: int = 1000, *, alpha: bool = False, dtype: type = np.uint16) -> JobResult:
    samples: Any = np.arange(size, dtype=dtype).reshape(1, 10, -1)
    metadata = Metadata(b"exif", b"profile", (72.0, 300.0), "n3denoise")
    picture = Picture(np.empty((0, 0, 0), np.float32), format="tiff", depth="16", metadata=metadata, conversions=("was-cmyk",))
    return JobResult(b"file", "tiff", samples, samples[0] if alpha else None, picture, b"image", gray=True, factor=3)


async def until(store: JobStore, condition: Callable[[JobState | None], bool]) -> JobState | None:
    """Read the state of the job until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition(found := await store.get(OWNER, ID)):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    return found


def test_a_job_is_added_changed_ended_and_read(run: Run) -> None:
    async def scenario(store: JobStore) -> None:
        assert await store.get(OWNER, ID) is None
        first = state()
        assert await store.add(first, 5000) is None
        assert await store.get(OWNER, ID) == first
        assert await store.get("b" * 64, ID) is None, "the job of another owner"
        running = first.changed(status="running", progress=0.5, eta_seconds=3.0)
        assert await store.update(running)
        assert await store.get(OWNER, ID) == running
        assert await store.result(OWNER, ID) is None
        ended = running.ended("succeeded", 60, progress=1.0, figures={"width": 3}, headers={"x-sigma": "3"})
        assert await store.end(ended, result())
        assert await store.get(OWNER, ID) == ended
        await store.remove(OWNER, ID)
        assert await store.get(OWNER, ID) is None
        assert await store.result(OWNER, ID) is None
        assert await store.size() == 0

    run(scenario)


@pytest.mark.parametrize(("alpha", "dtype"), [(False, np.uint16), (True, np.uint16), (True, np.float32)])
def test_a_result_comes_back_as_it_was(run: Run, monkeypatch: pytest.MonkeyPatch, alpha: bool, dtype: type) -> None:
    monkeypatch.setattr(redis_store, "_CHUNK_BYTES", 700)

    async def scenario(store: JobStore) -> None:
        kept = result(alpha=alpha, dtype=dtype)
        await store.add(state(), 5000)
        await store.end(state().ended("succeeded", 60), kept)
        found = await store.result(OWNER, ID)
        assert found
        assert (found.file, found.file_format, found.image, found.gray, found.factor) == (kept.file, "tiff", kept.image, True, 3)
        np.testing.assert_array_equal(found.samples, kept.samples, strict=True)
        assert (found.alpha is None) == (not alpha)
        if found.alpha is not None:
            np.testing.assert_array_equal(found.alpha, kept.samples[0], strict=True)
        assert found.description.metadata == kept.description.metadata
        assert found.description.conversions == ("was-cmyk",)
        assert (found.description.format, found.description.depth, found.description.rgb) == ("tiff", "16", False)

    run(scenario)


def test_a_job_ends_once(run: Run) -> None:
    async def scenario(store: JobStore) -> None:
        await store.add(state(), 5000)
        assert await store.end(state().ended("canceled", 60))
        for late in (store.update(state(progress=0.5)), store.end(state().ended("succeeded", 60), result())):
            assert not await late
        found = await store.get(OWNER, ID)
        assert found
        assert found.status == "canceled"
        assert await store.result(OWNER, ID) is None
        assert not await store.update(state("fedcba9876543210")), "a job that does not exist"

    run(scenario)


def test_an_id_is_used_once_for_each_owner(run: Run) -> None:
    async def scenario(store: JobStore) -> None:
        first = state()
        assert await store.add(first, 5000) is None
        assert await store.add(state(progress=0.1), 5000) == first
        assert await store.add(state(owner="b" * 64), 5000) is None
        assert await store.size() == 10_000

    run(scenario)


def test_a_full_store_refuses_and_says_when_there_is_room(run: Run) -> None:
    async def scenario(store: JobStore) -> None:
        assert await store.add(state(), 60_000) is None
        other = state("fedcba9876543210")
        with pytest.raises(JobsFull) as refusal:
            await store.add(other, 60_000)
        assert refusal.value.retry_after
        await store.end(state().ended("succeeded", 60), result(20_000))
        assert LEAST_BYTES + 40_000 <= await store.size() < 60_000, "the true size takes the place of the reserved one"
        with pytest.raises(JobsFull) as refusal:
            await store.add(other, 60_000)
        assert refusal.value.retry_after == pytest.approx(60, abs=5)
        await store.remove(OWNER, ID)
        assert await store.add(other, 60_000) is None

    run(scenario, capacity=100_000)


def test_a_result_expires_and_its_state_remains_for_some_time(run: Run) -> None:
    async def scenario(store: JobStore) -> None:
        await store.add(state(), 50_000)
        await store.end(state().ended("succeeded", 0.3, figures={"width": 3}), result(20_000))
        found = await until(store, lambda found: found is None or found.status != "succeeded")
        assert found
        assert found.status == "expired"
        assert found.figures is None
        assert await store.result(OWNER, ID) is None
        assert await store.size() <= LEAST_BYTES
        await until(store, lambda found: found is None)
        assert await store.size() == 0

    run(scenario, keep_seconds=0.3)


def test_jobs_are_listed_by_owner_from_the_newest(run: Run) -> None:
    async def scenario(store: JobStore) -> None:
        ids = [f"{ID}-{index}" for index in range(5)]
        for each in ids:
            await store.add(state(each), 5000)
            await asyncio.sleep(0.002)  # Redis orders them by the millisecond
        await store.add(state(owner="b" * 64), 5000)
        assert [each.id for each in await store.list(OWNER, 2, None)] == [ids[4], ids[3]]
        assert [each.id for each in await store.list(OWNER, 10, ids[3])] == [ids[2], ids[1], ids[0]]
        await store.remove(OWNER, ids[4])
        assert [each.id for each in await store.list(OWNER, 10, None)] == ids[3::-1]
        assert await store.list("c" * 64, 10, None) == []

    run(scenario)


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
class TestRedisStore:
    def test_a_job_whose_instance_is_gone_has_failed(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_store, "LEASE_SECONDS", 0.1)

        async def main() -> None:
            async with opened(redis) as store:
                await store._redis.flushdb()
                await store.add(state(), 5000)
                found = await until(store, lambda found: found is None or found.finished)
                assert found
                assert found.status == "failed"
                assert found.error
                assert found.error["type"].endswith("instance-lost")
                assert not await store.end(state().ended("succeeded", 60), result())
                assert await store.result(OWNER, ID) is None

        asyncio.run(main())

    def test_a_redis_that_is_gone_is_an_error_of_the_service(self, tmp_path: Path) -> None:
        async def main(server: RedisServer) -> None:
            async with opened(server) as store:
                await store.add(state(), 5000)
                server.stop()
                for call in (store.get(OWNER, ID), store.update(state()), store.size(), store.list(OWNER, 1, None)):
                    with pytest.raises(JobsUnavailable):
                        await call
                server.start()
                assert await store.get(OWNER, ID) is None

        with redis_server(tmp_path) as server:
            asyncio.run(main(server))
