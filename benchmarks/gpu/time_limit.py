"""A limit on the time of a block of code."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OutOfTime(BaseException):
    """The time is up. Libraries that catch every `Exception` do not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the block after some seconds, between two Python instructions. Limits cannot be nested.

    Args:
        seconds: The limit. Zero or less raises at once.
    """

    def expire(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a signal handler)
        raise OutOfTime

    if seconds <= 0:
        raise OutOfTime
    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
