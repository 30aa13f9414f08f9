"""What runs in Ray Serve's HTTP proxies, in front of the replicas; `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.error_responses import response_to
from service.errors import NotReady
from service.telemetry.request_record import open_record

_RETRY_SECONDS = 2


class RetryHints:
    """Say when to try again, where Ray Serve does not.

    If a replica ends while it computes a request, Ray Serve sends no response, and its server then answers 500. If no replica
    can be reached, Ray Serve answers 503 without `Retry-After`. Denoising changes nothing in the service, so the same request can
    be sent again in both cases.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application of the proxy."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = gone = False

        async def receive_noted() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def send_with_hint(message: Message) -> None:
            nonlocal began
            began = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = headers.get("x-request-id", "")  # Ray Serve adds its own to that of the service
                if message["status"] == 503:
                    headers.setdefault("retry-after", str(_RETRY_SECONDS))
            await send(message)

        await self.app(scope, receive_noted, send_with_hint)
        if not began and not gone:
            record = open_record(Headers(scope=scope).get("x-request-id"))
            error = NotReady("The replica that computed the request has ended. Send it again.", retry_after=_RETRY_SECONDS)
            response = response_to(error)
            response.headers["x-request-id"] = record.request_id
            await response(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return the middleware for the proxies."""
    return [Middleware(RetryHints)]
