"""A stream of server-sent events about a job, which is opened again where it broke off."""

import httpx2

from n3denoise_client.errors import UnexpectedResponse
from n3denoise_client.http import valid
from n3denoise_client.results import Job
from n3denoise_client.retries import Program, Request, Retries, answered


class JobEvents:
    """What is known about the stream, without any input or output.

    Args:
        job_id: ID of the job.
        retries: When to open the stream again.

    Attributes:
        ended: Whether the job has ended.
    """

    def __init__(self, job_id: str, retries: Retries) -> None:
        self.ended = False
        self._path = f"/v1/jobs/{job_id}/events"
        self._retries = retries
        self._last_id = ""
        self._openings = 0

    def open(self) -> Program[httpx2.Response]:
        """Open the stream after the last event that was received."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": self._last_id} if self._last_id else {})
        delay = self._retries.after_failure(self._openings) if self._openings else 0.0
        self._openings += 1
        return answered(Request("GET", self._path, headers=headers, stream=True), self._retries, delay)

    def received(self, event: httpx2.ServerSentEvent) -> Job:
        """Return the state in an event."""
        job = valid(Job, lambda: Job.model_validate_json(event.data))
        self.ended, self._last_id, self._openings = job.ended, event.id, 1
        return job

    def broke_off(self, failure: httpx2.TransportError) -> None:
        """Note that the connection broke.

        Raises:
            UnexpectedResponse: If the response is no stream of events.
        """
        if isinstance(failure, httpx2.SSEError):
            raise UnexpectedResponse(f"The response is not the stream that the API describes: {failure}") from failure
