"""Background jobs in Redis, where all instances of the service see them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.errors import InstanceLost, JobsFull, JobsUnavailable
from service.jobs import redis_scripts as scripts
from service.jobs.result import LEAST_BYTES, JobResult
from service.jobs.state import JobState
from service.jobs.store import LEASE_SECONDS

_PREFIX = "{n3denoise}:"  # the braces put all keys in one slot of a cluster, as scripts need it
_CHUNK_BYTES = 2**23  # small enough that no command keeps Redis busy for long
_TIMEOUT_SECONDS = 5.0


class RedisStore:
    """Keeps jobs in Redis.

    The instance that computes a job writes its state several times per second. If it stops doing so, whoever reads the state next
    declares the job as failed.

    Args:
        url: Where Redis is: `redis://` or `rediss://`.
        capacity: Maximum size of all results together, in bytes.
        keep_seconds: Time for which a result is kept; its state is kept twice as long.
    """

    shared = True

    def __init__(self, url: str, capacity: int, keep_seconds: float) -> None:
        self.capacity = capacity
        self._keep = int(1000 * keep_seconds)
        self._lease = int(1000 * LEASE_SECONDS)
        self._redis: Any = Redis.from_url(url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS)
        self._add = self._redis.register_script(scripts.ADD)
        self._change = self._redis.register_script(scripts.CHANGE)
        self._read = self._redis.register_script(scripts.READ)
        self._remove = self._redis.register_script(scripts.REMOVE)
        self._sweep = self._redis.register_script(scripts.SWEEP)

    async def add(self, state: JobState, size: int) -> JobState | None:
        """Add a job; see `JobStore`."""
        arguments: list[Any] = [state.model_dump_json(), state.id, _member(state.owner, state.id), size, self.capacity]
        with _reachable():
            outcome, wait = await self._add(keys=_keys(state.owner, state.id), args=[*arguments, self._lease, self._keep])
        if outcome == b"full":
            raise JobsFull(retry_after=int(wait) / 1000)
        return await self.get(state.owner, state.id) if outcome == b"exists" else None

    async def get(self, owner: str, job_id: str) -> JobState | None:
        """Return a state; see `JobStore`."""
        with _reachable():
            data, finished, beat, now = await self._read(keys=[_job(owner, job_id)])
        if data is None:
            return None
        state = JobState.model_validate_json(data)
        if finished == b"0" and int(now) - int(beat) > self._lease:
            error = InstanceLost().problem(job_id)
            await self.end(state.ended("failed", self._keep / 1000, error=error))
            return await self.get(owner, job_id)
        return state.seen_at(datetime.fromtimestamp(int(now) / 1000, UTC))

    async def update(self, state: JobState) -> bool:
        """Replace a state; see `JobStore`."""
        return await self._replace(state, size=-1, hold=self._lease + self._keep, expire=self._lease + self._keep)

    async def end(self, state: JobState, result: JobResult | None = None) -> bool:
        """Replace a state by a final one; see `JobStore`."""
        size = LEAST_BYTES
        if result:
            data = await asyncio.to_thread(result.dump)
            size += len(data)
            await self._write_result(state, data)
        ended = await self._replace(state, size=size, hold=self._keep, expire=2 * self._keep)
        if result and not ended:
            await self._drop_result(state.owner, state.id)
        return ended

    async def result(self, owner: str, job_id: str) -> JobResult | None:
        """Return a result; see `JobStore`."""
        with _reachable():
            count = await self._count_chunks(owner, job_id)
            chunks = [await self._redis.get(_chunk(owner, job_id, index)) for index in range(count)]
        if not chunks or None in chunks:  # it may expire meanwhile
            return None
        return await asyncio.to_thread(JobResult.load, b"".join(chunks))

    async def remove(self, owner: str, job_id: str) -> None:
        """Forget a job; see `JobStore`."""
        await self._drop_result(owner, job_id)
        with _reachable():
            await self._remove(keys=_keys(owner, job_id), args=[job_id, _member(owner, job_id)])

    async def list(self, owner: str, limit: int, after: str | None) -> list[JobState]:
        """Return the jobs of an owner; see `JobStore`."""
        ids = _owner(owner)
        with _reachable():
            rank = await self._redis.zrevrank(ids, after) if after else None
            start = 0 if rank is None else rank + 1
            page = await self._redis.zrevrange(ids, start, start + limit - 1)
        states = []
        for each in page:
            state = await self.get(owner, each.decode())
            if state:
                states.append(state)
            else:
                with _reachable():
                    await self._redis.zrem(ids, each)
        return states

    async def size(self) -> int:
        """Free the bytes of expired results, which Redis drops by itself, and return the size of all others; see `JobStore`."""
        with _reachable():
            return int(await self._sweep(keys=_TOTALS))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _replace(self, state: JobState, *, size: int, hold: int, expire: int) -> bool:
        keys = [_job(state.owner, state.id), *_TOTALS]
        values: list[Any] = [state.model_dump_json(), int(state.finished), _member(state.owner, state.id), size, hold, expire]
        with _reachable():
            return bool(await self._change(keys=keys, args=values))

    async def _write_result(self, state: JobState, data: bytes) -> None:
        starts = range(0, len(data), _CHUNK_BYTES)
        with _reachable():
            for index, start in enumerate(starts):
                chunk = data[start : start + _CHUNK_BYTES]
                await self._redis.set(_chunk(state.owner, state.id, index), chunk, px=self._keep)
            await self._redis.set(_count(state.owner, state.id), len(starts), px=self._keep)

    async def _drop_result(self, owner: str, job_id: str) -> None:
        with _reachable():
            chunks = [_chunk(owner, job_id, index) for index in range(await self._count_chunks(owner, job_id))]
            await self._redis.delete(_count(owner, job_id), *chunks)

    async def _count_chunks(self, owner: str, job_id: str) -> int:
        return int(await self._redis.get(_count(owner, job_id)) or 0)


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise JobsUnavailable from error


def _member(owner: str, job_id: str) -> str:
    return f"{owner}:{job_id}"


def _job(owner: str, job_id: str) -> str:
    return f"{_PREFIX}job:{_member(owner, job_id)}"


def _count(owner: str, job_id: str) -> str:
    return f"{_job(owner, job_id)}:chunks"


def _chunk(owner: str, job_id: str, index: int) -> str:
    return f"{_job(owner, job_id)}:chunk:{index}"


def _owner(owner: str) -> str:
    return f"{_PREFIX}owner:{owner}"


_TOTALS = [f"{_PREFIX}ends", f"{_PREFIX}sizes", f"{_PREFIX}size"]


def _keys(owner: str, job_id: str) -> list[Any]:
    return [_job(owner, job_id), _owner(owner), *_TOTALS]
