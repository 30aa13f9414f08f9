"""The state of a background job, as stores keep it and as every instance of the service can read it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
UNFINISHED: tuple[Status, ...] = ("queued", "running")


class JobState(BaseModel):
    """What is known about a background job.

    Attributes:
        id: ID of the job, unique for its owner.
        owner: Who may see it: the SHA-256 of an API key, or `ANYONE` if the service requires no key.
        fingerprint: SHA-256 of the images and options, which says whether another request asks for the same.
        status: `expired` is what `succeeded` becomes when the result is dropped. The other four final states never change.
        progress: Fraction of the computation that is done.
        eta_seconds: Estimated time until the job ends; None if it is unknown or the job has ended.
        created_at: When the job was accepted.
        started_at: When its computation began.
        finished_at: When it reached its final state.
        expires_at: When its result is dropped.
        figures: What the JSON of `POST /v1/denoise` or `POST /v1/upscale` says about the result, without the image.
        headers: Headers of the result.
        error: Problem document that says why the job failed or was canceled.
        version: Increases with each change.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    fingerprint: str
    status: Status = "queued"
    progress: float = 0.0
    eta_seconds: float | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    figures: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    error: dict[str, Any] | None = None
    version: int = 0

    @property
    def finished(self) -> bool:
        """Whether the job has reached a final state."""
        return self.status not in UNFINISHED

    def ended(self, status: Status, keep_seconds: float, **changes: Any) -> "JobState":
        """Return the state in which the job ends now, and which is kept for some time."""
        now = now_utc()
        expires_at = now + timedelta(seconds=keep_seconds)
        return self.changed(status=status, eta_seconds=None, finished_at=now, expires_at=expires_at, **changes)

    def changed(self, **changes: Any) -> "JobState":
        """Return the next version of the state."""
        return self.model_copy(update={"version": self.version + 1, **changes})

    def seen_at(self, now: datetime) -> "JobState":
        """Return the state as a caller sees it at a time: without a result whose time is over."""
        if self.status != "succeeded" or self.expires_at is None or now < self.expires_at:
            return self
        return self.changed(status="expired", figures=None, headers={})


ANYONE = "anyone"
"""The owner of all jobs if the service requires no API key."""


def now_utc() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)
