"""What every request passes before the routes: its record, keys, limits. Pure ASGI, so that a hang-up reaches the routes."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.context import State
from service.api.error_responses import as_service_error, response_to
from service.errors import BadRequest, BodyTooLarge, Draining, ServiceError, SlowRequest, Unauthorized, UploadsFull
from service.telemetry.logs import log
from service.telemetry.metrics import HTTP_METHODS, Metrics
from service.telemetry.request_record import Record, open_record

PROBES = ("/livez", "/readyz", "/metrics")
PLAIN = ("/", "/docs", "/openapi.json")

# The page and the API's documentation load scripts and pictures; nothing else does.
_PAGE_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_DOCS_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "frame-ancestors 'none'"
)
_BARE_POLICY = "default-src 'none'; frame-ancestors 'none'"


def _policy(path: str) -> str:
    if path == "/docs":
        return _DOCS_POLICY
    return _PAGE_POLICY if path == "/" or path.startswith("/web/") else _BARE_POLICY


def headers_of_all(record: Record, path: str) -> dict[str, str]:
    """The headers of every answer."""
    return {
        "x-request-id": record.request_id,
        "server-timing": record.server_timing(),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "content-security-policy": _policy(path),
    }


def count(metrics: Metrics, record: Record, method: str, route: str, status: int) -> None:
    """Count an answer and log it."""
    method = method if method in HTTP_METHODS else "_OTHER"
    seconds, probe = time.monotonic() - record.arrived, route in PROBES
    metrics.http_seconds.labels(method, route, str(status)).observe(seconds)
    if record.model:
        metrics.jobs.labels(record.model, record.outcome).inc()
    if record.error and not probe:
        if record.outcome == "rejected":
            metrics.rejections.labels(record.error).inc()
        elif record.outcome == "client_error":
            metrics.input_rejections.labels(record.error).inc()
    level = log().debug if probe else log().info
    level(
        "request",
        id=record.request_id,
        method=method,
        route=route,
        status=status,
        outcome=record.error or record.outcome,
        seconds=round(seconds, 4),
        **record.facts,
    )


class Front:
    """Outermost: opens the request's record, adds headers to every answer, counts and logs.

    Args:
        app: The application inside.
        state: The shared state.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = open_record(Headers(scope=scope).get("x-request-id"))
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(headers_of_all(record, scope["path"]))
                headers.setdefault("cache-control", "no-store")
                if self.state.engine.draining:
                    headers["connection"] = "close"
            await send(message)

        with self.state.metrics.http_active.track_inprogress():
            try:
                await self.app(scope, receive, send_with_headers)
            finally:
                # The route is known only now.
                route = getattr(scope.get("route"), "path", None) or (scope["path"] if scope["path"] in PLAIN else "unmatched")
                count(self.state.metrics, record, scope["method"], route, status)


class Origins(CORSMiddleware):
    """Lets scripts from some origins call, if any are set; around all that refuses, so that they can read the errors too."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        allowed_headers = ("Content-Type", "X-API-Key", "Authorization", "X-Request-ID")
        super().__init__(app, origins, ("GET", "POST"), allowed_headers, expose_headers=("*",))

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a browser that asks before it sends."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        return response_to(BadRequest("The service does not take that origin, method or header from other sites."))


class Problems:
    """Renders what the inside raises.

    Args:
        app: The application inside.
        state: The shared state.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        began = False

        async def send_noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except asyncio.CancelledError:
            # The server does that when the grace period is over.
            if began or not self.state.engine.draining:
                raise
            ended = Draining("The service was shut down before the result was ready.", retry_after=5)
            await response_to(ended)(scope, receive, send)
        except Exception as error:
            # A failure after the answer began cannot be answered any more; the server closes the connection.
            if began or scope["type"] != "http":
                raise
            await response_to(as_service_error(error))(scope, receive, send)


class ApiKeys:
    """Asks for a key under /v1 when any is set; health, metrics, the page and the documentation stay open.

    Args:
        app: The application inside.
        state: The shared state.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.hashes = state.settings.api_key_hashes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] == "http" and self.hashes and scope["path"].startswith("/v1/"):
            headers = Headers(scope=scope)
            scheme, _, token = headers.get("authorization", "").partition(" ")
            key = headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
            digest = hashlib.sha256(key.strip().encode()).hexdigest()
            # All are compared, each in constant time, so that timing tells neither which key nor how much of it fits.
            if not sum(hmac.compare_digest(digest, known) for known in self.hashes):
                raise Unauthorized("Send a key as X-API-Key or as Authorization: Bearer.")
        await self.app(scope, receive, send)


class Uploads:
    """Bounds request bodies: each in bytes and time, and all that are being received or held together in bytes.

    Args:
        app: The application inside.
        state: The shared state.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.state.settings.max_body_bytes
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        with self._account() as account:
            body = _Body(receive, self.state.settings.body_seconds)
            if declared.isdigit() and int(declared) > limit:
                # Many clients read no answer before they have sent everything, so some of it is read and thrown away;
                # not from one that asks first.
                if "expect" not in headers:
                    await body.discard(limit)
                raise self._too_large()

            async def receive_bounded() -> Message:
                message = await body.receive()
                account.add(len(message.get("body", b"")))
                if body.bytes > limit:
                    await body.discard(limit)
                    raise self._too_large()
                return message

            await self.app(scope, receive_bounded, send)

    def _too_large(self) -> ServiceError:
        limit = self.state.settings.max_body_bytes
        return BodyTooLarge(f"The limit is {limit} bytes.", limit_bytes=limit)

    @contextmanager
    def _account(self) -> "Iterator[_Account]":
        account = _Account(self.state)
        try:
            yield account
        finally:
            self.state.uploads_bytes -= account.bytes


class _Account:
    """The share of one request in the bytes that are held."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.bytes = 0

    def add(self, count: int) -> None:
        if count and self.state.uploads_bytes + count > self.state.settings.max_uploads_bytes:
            # Bodies are held until their requests end.
            worker = self.state.engine.worker
            ahead = worker.pace.seconds(worker.queue.pixels)
            raise UploadsFull("Too many request bodies are being received at once.", retry_after=ahead)
        self.state.uploads_bytes += count
        self.bytes += count


class _Body:
    """Receives a body before its deadline; messages after the body have none, for only a hang-up can follow."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._deadline = asyncio.get_running_loop().time() + seconds
        self.bytes = 0
        self.complete = False

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise SlowRequest("The body did not arrive within the time limit.") from None
        self.bytes += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        return message

    async def discard(self, most: int) -> None:
        end = self.bytes + most
        while not self.complete and self.bytes < end:
            await self.receive()
