"""Atomic file writes: readers see the old file or the complete new one, never a part of it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Give the path of a temporary file to write; when the block ends, the file replaces `target`.

    The file gets the permissions that the umask gives any new file, even if the block puts another file in the place of the
    temporary one, as safetensors does. If the block raises an exception, the temporary file is removed and `target` stays as it
    was.

    Args:
        target: The file to write. Its folder must exist.

    Yields:
        The path of an empty file in the same folder.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    part.touch(exist_ok=False)
    mode = part.stat().st_mode
    try:
        yield part
        part.chmod(mode)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
