"""What the HTTP proxies of Ray Serve say when a replica cannot."""

import asyncio
import json

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.ray.proxy import middlewares


def answers(app: ASGIApp, received: Message | None = None) -> list[Message]:
    """Return what the proxy sends if its application behaves as `app` does."""
    sent: list[Message] = []

    async def receive() -> Message:
        return received or {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    (middleware,) = middlewares()
    scope = {"type": "http", "method": "POST", "path": "/v1/denoise", "headers": [(b"x-request-id", b"request-1")]}

    async def run() -> None:
        await middleware.cls(app, *middleware.args, **middleware.kwargs)(scope, receive, send)

    asyncio.run(run())
    return sent


async def silent(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await receive()


def test_a_replica_that_ends_without_a_response_is_a_reason_to_try_again() -> None:
    start, body = answers(silent)
    headers = Headers(scope=start)
    assert start["status"] == 503
    assert int(headers["retry-after"]) > 0
    assert headers["x-request-id"] == "request-1"
    assert json.loads(body["body"])["type"] == "urn:n3denoise:error:not-ready"


def test_a_client_that_has_hung_up_gets_nothing() -> None:
    assert answers(silent, {"type": "http.disconnect"}) == []


def test_503_says_when_to_try_again_and_every_response_has_one_id() -> None:
    async def unavailable(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        headers = [(b"x-request-id", b"request-1"), (b"x-request-id", b"request-1")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"no replica"})

    start, _ = answers(unavailable)
    assert int(Headers(scope=start)["retry-after"]) > 0
    assert Headers(scope=start).getlist("x-request-id") == ["request-1"]


def test_a_delay_that_the_service_computed_is_kept() -> None:
    async def draining(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"17")]})
        await send({"type": "http.response.body", "body": b""})

    start, _ = answers(draining)
    assert Headers(scope=start).getlist("retry-after") == ["17"]
