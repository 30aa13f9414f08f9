"""What image libraries raise over bytes that they cannot read, and the one error that the service makes of it."""

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
    """Within it, whatever a library chokes on is the file's fault.

    Raises:
        UndecodableImage: In place of what the library raised.
    """
    try:
        yield
    except DAMAGE as error:
        raise UndecodableImage("The file is damaged or truncated.") from error
