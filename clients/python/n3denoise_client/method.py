"""Methods that are written once and that both clients have: one blocks, the other is awaited."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args, overload

from n3denoise_client.retries import Program

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class Blocking(ABC):
    """A client that runs programs by blocking."""

    @abstractmethod
    def run(self, program: Program[_Result]) -> _Result:
        """Run a program to its end, and return its result."""


class Awaiting(ABC):
    """A client that runs programs by awaiting."""

    @abstractmethod
    async def run(self, program: Program[_Result]) -> _Result:
        """Run a program to its end, and return its result."""


class method(Generic[_Parameters, _Result]):  # noqa: N801 - a decorator, like property
    """Turns a function that returns a program into a method that runs it and returns the result of the program.

    Args:
        function: The function; its first parameter is the client.
    """

    def __init__(self, function: Callable[Concatenate[Any, _Parameters], Program[_Result]]) -> None:
        self.function = function
        functools.update_wrapper(self, function)  # type: ignore[arg-type] # for its docstring

    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[_Parameters, _Result]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[_Parameters, Coroutine[Any, Any, _Result]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> "method[_Parameters, _Result]": ...
    def __get__(self, client: Blocking | Awaiting | None, owner: type) -> object:
        """Return the method of a client."""
        if client is None:
            return self
        runner = client

        def bound(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> object:
            return runner.run(self.function(runner, *args, **kwargs))

        functools.update_wrapper(bound, self.function)
        # What `help` shows: without the client, and with the result in place of the program.
        signature = inspect.signature(self.function)
        parameters, result = [*signature.parameters.values()][1:], get_args(signature.return_annotation)[-1]
        bound.__signature__ = signature.replace(parameters=parameters, return_annotation=result)  # type: ignore[attr-defined]
        return bound
