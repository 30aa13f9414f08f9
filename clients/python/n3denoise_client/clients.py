"""The two clients. They differ only in how they send a request and wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from n3denoise_client.calls import Calls
from n3denoise_client.events import JobEvents
from n3denoise_client.method import Awaiting, Blocking
from n3denoise_client.results import Job
from n3denoise_client.retries import Program, Retries, Send

_Result = TypeVar("_Result")


class _Service:
    """The address of a service and what every request to it carries."""

    def __init__(self, base_url: str, api_key: str | None) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"x-api-key": api_key} if api_key else {}

    def request(self, http: httpx2.Client | httpx2.AsyncClient, send: Send) -> httpx2.Request:
        """Return the request of the HTTP library."""
        request = send.request
        return http.build_request(
            request.method,
            self._base_url + request.path,
            params=request.params,
            headers={**self._headers, **request.headers},
            content=request.content,
            files=request.files,
            timeout=httpx2.Timeout(send.timeout, connect=min(10.0, send.timeout)),
        )


class Client(Calls, Blocking):
    """A client of one service that blocks until the answer is there. Threads may share it.

    All methods raise the exceptions in `n3denoise_client.errors`.

    Args:
        base_url: Address of the service, such as http://127.0.0.1:8000.
        api_key: API key, if the service requires one.
        retries: How long a call goes on trying, and how it waits between attempts.
        http: HTTP client to use, for example with a proxy or with certificates of your own; you close it yourself.
        sleep: What waits for a number of seconds.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        retries: Retries = Retries(),  # noqa: B008 - it cannot change
        http: httpx2.Client | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(retries)
        self._service = _Service(base_url, api_key)
        self._http = http or httpx2.Client()
        self._owns_http = http is None
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def job_events(self, job_id: str) -> Iterator[Job]:
        """Yield the state of a job whenever it changes, until it has ended. A stream that breaks is opened again."""
        events = JobEvents(job_id, self._retries)
        while not events.ended:
            response = self.run(events.open())
            try:
                for event in httpx2.EventSource(response):
                    yield events.received(event)
            except httpx2.TransportError as failure:
                events.broke_off(failure)
            finally:
                response.close()

    def run(self, program: Program[_Result]) -> _Result:
        """Run a program to its end, and return its result."""
        try:
            send = next(program)
            while True:
                try:
                    response = self._attempt(send)
                except BaseException as failure:  # the program may have something to clean up
                    send = program.throw(failure)
                else:
                    send = program.send(response)
        except StopIteration as end:
            result: _Result = end.value
            return result

    def _attempt(self, send: Send) -> httpx2.Response:
        if send.delay:
            self._sleep(send.delay)
        request = self._service.request(self._http, send)
        response = self._http.send(request, stream=send.request.stream, follow_redirects=False)
        if response.is_error:
            response.read()
        return response


class AsyncClient(Calls, Awaiting):
    """A client of one service for asyncio, whose methods are those of `Client` and are awaited. Tasks may share it.

    Args:
        base_url: As for `Client`.
        api_key: As for `Client`.
        retries: As for `Client`.
        http: As for `Client`.
        sleep: As for `Client`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        retries: Retries = Retries(),  # noqa: B008 - it cannot change
        http: httpx2.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(retries)
        self._service = _Service(base_url, api_key)
        self._http = http or httpx2.AsyncClient()
        self._owns_http = http is None
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    async def job_events(self, job_id: str) -> AsyncIterator[Job]:
        """Yield the state of a job whenever it changes, until it has ended. A stream that breaks is opened again."""
        events = JobEvents(job_id, self._retries)
        while not events.ended:
            response = await self.run(events.open())
            try:
                async for event in httpx2.EventSource(response):
                    yield events.received(event)
            except httpx2.TransportError as failure:
                events.broke_off(failure)
            finally:
                await response.aclose()

    async def run(self, program: Program[_Result]) -> _Result:
        """Run a program to its end, and return its result."""
        try:
            send = next(program)
            while True:
                try:
                    response = await self._attempt(send)
                except BaseException as failure:  # the program may have something to clean up
                    send = program.throw(failure)
                else:
                    send = program.send(response)
        except StopIteration as end:
            result: _Result = end.value
            return result

    async def _attempt(self, send: Send) -> httpx2.Response:
        if send.delay:
            await self._sleep(send.delay)
        request = self._service.request(self._http, send)
        response = await self._http.send(request, stream=send.request.stream, follow_redirects=False)
        if response.is_error:
            await response.aread()
        return response
