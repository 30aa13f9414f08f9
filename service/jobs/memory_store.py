"""Background jobs in the memory of one process."""

from dataclasses import dataclass
from datetime import timedelta

from service.errors import JobsFull
from service.jobs.result import LEAST_BYTES, JobResult
from service.jobs.state import JobState, now_utc


@dataclass
class _Entry:
    state: JobState
    size: int
    result: JobResult | None = None


class MemoryStore:
    """Keeps jobs in memory. It is not thread-safe: all its methods run on the event loop, and none of them waits.

    Args:
        capacity: Maximum size of all results together, in bytes.
        keep_seconds: Time for which a result is kept; its state is kept twice as long.
    """

    shared = False

    def __init__(self, capacity: int, keep_seconds: float) -> None:
        self.capacity = capacity
        self._keep = timedelta(seconds=keep_seconds)
        self._entries: dict[tuple[str, str], _Entry] = {}  # in the order in which they were added
        self._size = 0

    async def add(self, state: JobState, size: int) -> JobState | None:
        """Add a job; see `JobStore`."""
        self._sweep()
        key = state.owner, state.id
        if key in self._entries:
            return self._entries[key].state
        if self._size + size > self.capacity:
            wait = self._wait(self._size + size - self.capacity)
            raise JobsFull(retry_after=wait)
        self._entries[key] = _Entry(state, size)
        self._size += size
        return None

    async def get(self, owner: str, job_id: str) -> JobState | None:
        """Return a state; see `JobStore`."""
        self._sweep()
        entry = self._entries.get((owner, job_id))
        return entry.state if entry else None

    async def update(self, state: JobState) -> bool:
        """Replace a state; see `JobStore`."""
        entry = self._entries.get((state.owner, state.id))
        if entry is None or entry.state.finished:
            return False
        entry.state = state
        return True

    async def end(self, state: JobState, result: JobResult | None = None) -> bool:
        """Replace a state by a final one; see `JobStore`."""
        if not await self.update(state):
            return False
        entry = self._entries[state.owner, state.id]
        entry.result = result
        self._resize(entry, result.size if result else LEAST_BYTES)
        return True

    async def result(self, owner: str, job_id: str) -> JobResult | None:
        """Return a result; see `JobStore`."""
        self._sweep()
        entry = self._entries.get((owner, job_id))
        return entry.result if entry else None

    async def remove(self, owner: str, job_id: str) -> None:
        """Forget a job; see `JobStore`."""
        entry = self._entries.pop((owner, job_id), None)
        if entry:
            self._size -= entry.size

    async def list(self, owner: str, limit: int, after: str | None) -> list[JobState]:
        """Return the jobs of an owner; see `JobStore`."""
        self._sweep()
        states = [entry.state for key, entry in reversed(self._entries.items()) if key[0] == owner]
        ids = [state.id for state in states]
        start = ids.index(after) + 1 if after in ids else 0
        return states[start : start + limit]

    def _sweep(self) -> None:
        """Drop expired results, and states that have been expired for as long as results are kept."""
        now = now_utc()
        for key, entry in list(self._entries.items()):
            expires_at = entry.state.expires_at
            if expires_at is None or now < expires_at:
                continue
            entry.state, entry.result = entry.state.seen_at(now), None
            self._resize(entry, LEAST_BYTES)
            if now >= expires_at + self._keep:
                del self._entries[key]
                self._size -= entry.size

    async def size(self) -> int:
        """Drop what has expired, and return the size of the rest; see `JobStore`."""
        self._sweep()
        return self._size

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def _resize(self, entry: _Entry, size: int) -> None:
        self._size += size - entry.size
        entry.size = size

    def _wait(self, missing: int) -> float:
        """Return the seconds until this many bytes will be free, if nobody removes a job before."""
        now = now_utc()
        ends = []
        for entry in self._entries.values():
            state = entry.state
            end = state.expires_at or now + self._keep + timedelta(seconds=state.eta_seconds or 0)
            ends.append((end, entry.size))
        for end, size in sorted(ends, key=lambda each: each[0]):
            missing -= size
            if missing <= 0:
                return max(1.0, (end - now).total_seconds())
        return self._keep.total_seconds()
