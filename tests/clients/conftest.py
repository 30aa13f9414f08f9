"""Every test of the client runs twice: with `Client`, and with `AsyncClient` on an event loop of its own."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from n3denoise_client import AsyncClient, Client, Retries

from tests.support.clients import Awaited, Connect, unexpected
from tests.support.live import PATIENCE, Live, live, settings_for


@pytest.fixture(scope="package")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())

        def connect(
            service: Live | None,
            *,
            sleep: Callable[[float], object] = unexpected,
            arrived: Callable[[httpx2.Response], object] = lambda _: None,
            transport: httpx2.MockTransport | None = None,
            **options: Any,
        ) -> Any:
            options = {"base_url": f"http://127.0.0.1:{service.port if service else 1}/", **options}
            options.setdefault("retries", Retries(deadline_seconds=PATIENCE))
            if request.param == "sync":
                http = httpx2.Client(transport=transport, event_hooks={"response": [arrived]})
                stack.callback(http.close)
                return Client(http=http, sleep=sleep, **options)

            async def pause(seconds: float) -> None:
                sleep(seconds)

            async def received(response: httpx2.Response) -> None:
                arrived(response)

            awaited = httpx2.AsyncClient(transport=transport, event_hooks={"response": [received]})
            stack.callback(lambda: runner.run(awaited.aclose()))
            return Awaited(runner, AsyncClient(http=awaited, sleep=pause, **options))

        yield connect
