"""Work for a caller only as long as the caller waits and the deadline has not passed."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from service.api.context import AppContext
from service.errors import ClientGone, DeadlineExceeded
from service.telemetry.request_record import current_record

T = TypeVar("T")


async def cancel_when_gone(request: Request, context: AppContext, work: Coroutine[Any, Any, T]) -> T:
    """Await work, and cancel it when the client hangs up or the deadline passes; the request body must have been read.

    Raises:
        ClientGone: If the client hung up.
        DeadlineExceeded: If the deadline passed.
    """
    left = current_record().arrived + context.settings.timeout_seconds - time.monotonic()
    task = asyncio.create_task(work)
    hang_up = asyncio.create_task(_hang_up(request))
    try:
        done, _ = await asyncio.wait({task, hang_up}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hang_up.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task in done:
        return task.result()
    raise ClientGone if done else DeadlineExceeded


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
