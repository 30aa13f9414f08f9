"""The layers that every request passes through before the routes: its record, CORS, error rendering, API keys.

This is pure ASGI middleware, so that the routes notice when a client hangs up.
"""

import asyncio
import hashlib
import hmac
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.context import AppContext
from service.api.error_responses import as_service_error, response_to
from service.errors import BadRequest, Draining, ExpectationFailed, ServiceError, Unauthorized
from service.telemetry.logs import log
from service.telemetry.metrics import HTTP_METHODS, Metrics
from service.telemetry.request_record import Record, current_record, open_record

PROBES = ("/livez", "/readyz", "/metrics")
POLLED = "/v1/jobs/{job_id}"
PLAIN = ("/openapi.json",)

# Only the page and the API documentation load scripts and pictures, and only from the service itself.
_BARE_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' blob:; script-src 'self'; style-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_DOCS_POLICY = _PAGE_POLICY.replace("blob:", "blob: data:")  # the style of Swagger UI contains its icons


def _policy(path: str) -> str:
    if path == "/docs":
        return _DOCS_POLICY
    return _PAGE_POLICY if path == "/" or path.startswith("/web/") else _BARE_POLICY


def common_headers(record: Record, path: str) -> dict[str, str]:
    """Return the headers of every response."""
    return {
        "x-request-id": record.request_id,
        "server-timing": record.server_timing(),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "content-security-policy": _policy(path),
    }


def record_response(metrics: Metrics, record: Record, method: str, route: str, status: int) -> None:
    """Count a response and log it."""
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
    level = log().debug if probe or (route == POLLED and record.outcome == "ok") else log().info
    level(
        "request",
        id=record.request_id,
        method=method,
        route=route,
        status=status,
        outcome=record.error or record.outcome,
        seconds=round(seconds, 4),
        **({"model": record.model} if record.model else {}),
        **record.facts,
    )


class RequestLog:
    """The outermost layer: open the record of a request, add the common headers to its response, count it and log it."""

    def __init__(self, app: ASGIApp, context: AppContext) -> None:
        """Wrap an application."""
        self.app = app
        self.context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_headers = Headers(scope=scope)
        record = open_record(request_headers.get("x-request-id"))
        status = 0
        refusal = _refusal(request_headers)
        # A HEAD request is a GET request whose response the server sends without its body.
        method = scope["method"]
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(common_headers(record, scope["path"]))
                headers.setdefault("cache-control", "no-store")
                if self.context.engine.draining or refusal:
                    headers["connection"] = "close"
            await send(message)

        with self.context.metrics.http_active.track_inprogress():
            try:
                await (response_to(refusal) if refusal else self.app)(inner, receive, send_with_headers)
            finally:
                # Only now is the route known.
                route = getattr(inner.get("route"), "path", None) or (scope["path"] if scope["path"] in PLAIN else "unmatched")
                record_response(self.context.metrics, record, method, route, status)


def _refusal(headers: Headers) -> ServiceError | None:
    """Return why a request with these headers is refused on every route, or None."""
    if "transfer-encoding" in headers and "content-length" in headers:
        # Two proxies may disagree about where such a request ends (RFC 9112, section 6.1).
        return BadRequest("Send either Content-Length or Transfer-Encoding, not both.")
    if any(value.strip().lower() != "100-continue" for value in headers.getlist("expect")):
        return ExpectationFailed("The only expectation that the service supports is 100-continue.")
    return None


class Cors(CORSMiddleware):
    """Allow scripts from the configured origins. This layer is outside all that refuse requests, so scripts can read errors."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        """Allow these origins."""
        allowed_headers = ("Content-Type", "X-API-Key", "Authorization", "X-Request-ID", "Prefer", "Last-Event-ID")
        super().__init__(app, origins, ("GET", "POST", "PUT", "DELETE"), allowed_headers, expose_headers=("*",))

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer the request by which a browser asks for permission."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        return response_to(BadRequest("The service does not take that origin, method or header from other sites."))


class ServerOptions:
    """Answer `OPTIONS *`, which asks about the whole server and matches no route (RFC 9110, section 9.3.7)."""

    def __init__(self, app: ASGIApp, context: AppContext) -> None:  # noqa: ARG002 (all layers inside CORS are made alike)
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        asked = scope["type"] == "http" and scope["method"] == "OPTIONS" and scope["path"] == "*"
        await (Response(None, 204, {"allow": "DELETE, GET, HEAD, OPTIONS, POST, PUT"}) if asked else self.app)(
            scope, receive, send
        )


class ErrorRendering:
    """Turn every exception from inside into a response."""

    def __init__(self, app: ASGIApp, context: AppContext) -> None:
        """Wrap an application."""
        self.app = app
        self.context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        began = False

        async def send_noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except asyncio.CancelledError:
            # The server cancels requests when the grace period is over.
            if began or not self.context.engine.draining:
                raise
            ended = Draining("The service was shut down before the result was ready.", retry_after=5)
            await response_to(ended)(scope, receive, send)
        except Exception as error:
            # A response that has begun cannot become an error response; the server closes the connection.
            if began or scope["type"] != "http":
                raise
            await response_to(as_service_error(error))(scope, receive, send)


class ApiKeys:
    """Require an API key under /v1 if any is configured; health, metrics, the page and the documentation stay open."""

    def __init__(self, app: ASGIApp, context: AppContext) -> None:
        """Wrap an application."""
        self.app = app
        self.hashes = context.settings.api_key_hashes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] == "http" and self.hashes and scope["path"].startswith("/v1/"):
            headers = Headers(scope=scope)
            scheme, _, token = headers.get("authorization", "").partition(" ")
            key = headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
            digest = hashlib.sha256(key.strip().encode()).hexdigest()
            # Compare with all, each in constant time, so that timing reveals neither which key nor how much of it matches.
            if not sum(hmac.compare_digest(digest, known) for known in self.hashes):
                raise Unauthorized("Send a key as X-API-Key or as Authorization: Bearer.")
            current_record().caller = digest
        await self.app(scope, receive, send)
