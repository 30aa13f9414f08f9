"""Limits of request bodies, in bytes and time; pure ASGI middleware."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.context import AppContext
from service.errors import BodyTooLarge, ServiceError, SlowRequest, UploadsFull


class UploadLimits:
    """Limit each request body in bytes and time, and all bodies that are received or held together in bytes."""

    def __init__(self, app: ASGIApp, context: AppContext) -> None:
        """Wrap an application."""
        self.app = app
        self.context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.context.settings.max_body_bytes
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        with self._account() as account:
            body = _Body(receive, self.context.settings.body_seconds)
            if declared.isdigit() and int(declared) > limit:
                raise self._too_large()

            async def receive_bounded() -> Message:
                message = await body.receive()
                account.add(len(message.get("body", b"")))
                if body.bytes > limit:
                    raise self._too_large()
                return message

            await self.app(scope, receive_bounded, send)

    def _too_large(self) -> ServiceError:
        limit = self.context.settings.max_body_bytes
        return BodyTooLarge(f"The limit is {limit} bytes.", limit_bytes=limit)

    @contextmanager
    def _account(self) -> "Iterator[_Account]":
        account = _Account(self.context)
        try:
            yield account
        finally:
            self.context.uploads_bytes -= account.bytes


class _Account:
    """The share of one request in the bytes that are held."""

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.bytes = 0

    def add(self, count: int) -> None:
        held = self.context.uploads_bytes + self.context.unread_bytes
        if count and held + count > self.context.settings.max_uploads_bytes:
            # Bodies are held until their requests end.
            ahead = self.context.engine.backlog_seconds()
            raise UploadsFull("Too many bytes of requests and unread responses are being held.", retry_after=ahead)
        self.context.uploads_bytes += count
        self.bytes += count


class _Body:
    """Receive a body before its deadline; what follows the body can only be a hang-up and has no deadline."""

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
