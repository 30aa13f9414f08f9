"""Computations that proceed in steps, so that a caller can interleave several of them or stop one."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def scaled(steps: Generator[float, None, Result], index: int, count: int) -> Generator[float, None, Result]:
    """Turn the fractions that one of several equal computations yields into fractions of all of them."""
    while True:
        try:
            fraction = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield (index + fraction) / count


def run_through(steps: Generator[object, None, Result]) -> Result:
    """Run a computation to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
