"""The exceptions that image libraries raise on damaged files, and the one error that the service turns them into."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import UndecodableImage

DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@contextmanager
def undecodable() -> Iterator[None]:
    """Treat every such exception in the block as the file's fault.

    Raises:
        UndecodableImage: In place of the library's exception.
    """
    try:
        yield
    except DAMAGE as error:
        raise UndecodableImage("The file is damaged or truncated.") from error
