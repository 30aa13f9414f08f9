"""When a request is sent again: the same rules for both clients, without any input or output.

A call is a generator, a `Program`: it yields each request to send, receives the response or the exception of the HTTP library,
and returns the result. `Client` and `AsyncClient` run it, one by blocking and one by awaiting.
"""

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias, TypeVar

import httpx2
from pydantic import ValidationError

from n3denoise_client.errors import ConnectionFailed, ProblemError, problem_error
from n3denoise_client.results import Problem

LONGEST_PAUSE = 10.0
"""Seconds to wait at most after a lost connection."""

SHORT_DEADLINE = 5.0
"""Seconds for a request that is not worth waiting for."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be sent any number of times, because its body is in memory.

    Attributes:
        stream: Whether the response is a stream that is read later.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    files: Mapping[str, bytes] | None = None
    stream: bool = False

    def may_repeat(self, failure: httpx2.TransportError) -> bool:
        """Return whether to send the request again after a failure of the connection.

        A request that never reached the service is always safe to send again. If the connection broke later, the service may
        have done the work. A second time does no harm for GET, which reads; for PUT, because the service starts a job only once
        under an ID; and for the POST requests of this client, which compute and store nothing. It may do harm for DELETE: the
        first one cancels a job, and the second one forgets it. A timeout of the response is not repeated: it is the deadline.
        """
        if isinstance(failure, httpx2.ConnectError | httpx2.ConnectTimeout):
            return True
        return self.method != "DELETE" and isinstance(failure, httpx2.NetworkError | httpx2.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Send:
    """One attempt: wait, then send the request.

    Attributes:
        delay: Seconds to wait before.
        timeout: Longest time to wait for the next bytes, in seconds.
    """

    request: Request
    delay: float
    timeout: float


Result = TypeVar("Result")
Program: TypeAlias = Generator[Send, httpx2.Response, Result]


@dataclass(frozen=True, slots=True)
class Retries:
    """How long a call goes on trying.

    Attributes:
        deadline_seconds: Longest time of a call, with all waiting and all attempts. Only a transfer that makes progress may take
            longer.
        jitter: Fraction by which Retry-After is prolonged at most, at random, so that clients do not return all at once.
        clock: Returns the time in seconds.
        chance: Returns a random number from 0 to 1.
    """

    deadline_seconds: float = 600.0
    jitter: float = 0.25
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random

    def shortened(self) -> Self:
        """Return the same with a deadline of a few seconds at most, for what is not worth waiting for."""
        return replace(self, deadline_seconds=min(SHORT_DEADLINE, self.deadline_seconds))

    def after_refusal(self, retry_after: float) -> float:
        """Return how long to wait after an answer that says when to try again: never less than it says."""
        return retry_after * (1 + self.jitter * self.chance())

    def after_failure(self, failures: int) -> float:
        """Return how long to wait after a number of lost connections: at random, up to a limit that doubles each time."""
        return min(LONGEST_PAUSE, 0.5 * 2.0**failures) * self.chance()


def answered(request: Request, retries: Retries, delay: float = 0.0) -> Program[httpx2.Response]:
    """Send a request until it succeeds, fails for good, or the deadline does not allow another attempt.

    After a 429 or 503 with Retry-After, every request is sent again: the service has stored nothing for it.

    Args:
        request: The request.
        retries: The deadline, and how long to wait between attempts.
        delay: Seconds to wait before the first attempt; they do not count.

    Raises:
        ProblemError: If the service answers with an error.
        ConnectionFailed: If no response arrives.
    """
    end = retries.clock() + delay + retries.deadline_seconds
    failures = 0
    while True:
        pause: float | None = None
        cause: Exception | None = None
        error: ProblemError | ConnectionFailed
        try:
            response = yield Send(request, delay, end - retries.clock() - delay)
        except httpx2.TransportError as failure:
            error, cause = ConnectionFailed(f"No response: {str(failure) or type(failure).__name__}"), failure
            if request.may_repeat(failure):
                pause = retries.after_failure(failures)
            failures += 1
        else:
            if response.is_success:
                return response
            error = _error_of(response)
            if error.status in (429, 503) and error.retry_after is not None:
                pause = retries.after_refusal(error.retry_after)
        if pause is None or retries.clock() + pause >= end:
            raise error from cause
        delay = pause


def retry_after(response: httpx2.Response) -> float | None:
    """Return the seconds in the Retry-After header. The service sends no dates, and a date counts as no header."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def _error_of(response: httpx2.Response) -> ProblemError:
    """Return the exception for an error response; a proxy in front of the service may have written it."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        title = response.reason_phrase or "Error"
        problem = Problem(type="about:blank", title=title, status=response.status_code, detail="", instance="")
    return problem_error(problem, retry_after(response))
