"""What every store of background jobs does."""

from typing import Protocol

from service.jobs.result import JobResult
from service.jobs.state import JobState

LEASE_SECONDS = 30.0
"""Time after which an unfinished job that its instance has not mentioned is lost, because the instance must have ended."""


class JobStore(Protocol):
    """Keeps the states and results of background jobs.

    A job that has ended cannot change anymore, so that each job has exactly one final state, whoever ends it first. All methods
    raise `JobsUnavailable` if the store cannot be reached.

    Attributes:
        shared: Whether other instances of the service see the same jobs, which then outlive this process.
        capacity: Maximum size of all results together, in bytes.
    """

    shared: bool
    capacity: int

    async def add(self, state: JobState, size: int) -> JobState | None:
        """Add a job, and set bytes aside for its result.

        Returns:
            The job that has the same owner and ID, which then stays as it is; None if there was no such job.

        Raises:
            JobsFull: If the store has no room until some result expires.
        """

    async def get(self, owner: str, job_id: str) -> JobState | None:
        """Return the present state of a job, or None if there is no such job."""

    async def update(self, state: JobState) -> bool:
        """Replace the state of an unfinished job; return False, and change nothing, if it has ended or is gone."""

    async def end(self, state: JobState, result: JobResult | None = None) -> bool:
        """Replace the state of an unfinished job by a final one; return False, and change nothing, if it has ended or is gone.

        Its result takes the place of the bytes that were set aside for it.
        """

    async def result(self, owner: str, job_id: str) -> JobResult | None:
        """Return the result of a job, or None if there is none anymore."""

    async def remove(self, owner: str, job_id: str) -> None:
        """Forget a job and its result."""

    async def list(self, owner: str, limit: int, after: str | None) -> list[JobState]:
        """Return the jobs of an owner, the newest first, beginning after that with the given ID."""

    async def size(self) -> int:
        """Drop what has expired, and return the size of all results, and of the bytes that are set aside, together."""

    async def close(self) -> None:
        """Release all connections."""
