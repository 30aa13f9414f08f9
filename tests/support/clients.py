"""What the tests of the client share: both clients behind one face, and a clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2
from n3denoise_client import AsyncClient, Client

from tests.support.live import Live


class Connect(Protocol):
    """Makes a client.

    Args:
        service: A server; None with a transport that answers in its place.
        sleep: Is called in place of waiting. By default, a client that waits fails the test.
        arrived: Is called with each response; it may raise what the network would.
        options: Arguments of the client.
    """

    def __call__(
        self,
        service: Live | None,
        *,
        sleep: Callable[[float], object] = ...,
        arrived: Callable[[httpx2.Response], object] = ...,
        transport: httpx2.MockTransport | None = None,
        **options: Any,
    ) -> Client: ...


def unexpected(seconds: float) -> None:
    raise AssertionError(f"the client waited for {seconds} s")


@dataclass
class Clock:
    """A clock that only waiting moves."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Awaited:
    """An `AsyncClient` that is used like a `Client`."""

    def __init__(self, runner: asyncio.Runner, client: AsyncClient) -> None:
        self.runner = runner
        self.client = client

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            answer = getattr(self.client, name)(*args, **options)
            return self.each(answer) if isinstance(answer, AsyncIterator) else self.runner.run(answer)

        return call

    def each(self, values: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(values, None)

        while (value := self.runner.run(following())) is not None:
            yield value
