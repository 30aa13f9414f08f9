"""Limits on the structure of PNG, WebP and BMP files, checked before a decoder sees the file.

Decoders spend time on every chunk, even on an empty one, so a small file could keep them busy for minutes.
"""

import struct
from collections.abc import Iterator

from service.errors import UndecodableImage, UnsupportedMode

_MOST_CHUNKS = 50_000  # in 32 MiB, chunks of 671 bytes; writers use at least 8 kB
_PNG_SIGNATURE, _RIFF_HEADER = 8, 12
_RUN_LENGTH_CODES = (1, 2)
_SHORT_BMP_HEADER = 12  # bytes; it has a width of 16 bits without a sign, in OS/2 files


def check_png(data: bytes) -> None:
    """Check the chunks of a PNG file.

    Raises:
        UnsupportedMode: If there are too many chunks.
        UndecodableImage: If there are several color profiles.
    """
    profiles = sum(kind == b"iCCP" for kind, _, _ in png_chunks(data))
    if profiles > 1:
        raise UndecodableImage("The file is damaged: it has several color profiles.")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, the offset and the end of each chunk of a PNG file, up to the first that is cut off.

    Raises:
        UnsupportedMode: If there are too many chunks.
    """
    position = _PNG_SIGNATURE
    for _ in range(_MOST_CHUNKS):
        if position + 12 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, position, position + 12 + length
        position += 12 + length
    raise UnsupportedMode(f"The limit is {_MOST_CHUNKS} chunks in a PNG file.")


def check_webp(data: bytes) -> None:
    """Check the chunks of a WebP file.

    Raises:
        UnsupportedMode: If there are too many chunks.
    """
    position = _RIFF_HEADER
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(data):
            return
        (length,) = struct.unpack_from("<I", data, position + 4)
        position += 8 + length + length % 2
    raise UnsupportedMode(f"The limit is {_MOST_CHUNKS} chunks in a WebP file.")


def check_bmp(data: bytes) -> None:
    """Check the compression and the width of a BMP file.

    Raises:
        UnsupportedMode: If it is compressed by run lengths: they can encode any number of steps that add no pixel.
        UndecodableImage: If its width is negative, which Pillow takes for a huge one.
    """
    if len(data) < 34:
        return
    header_bytes, width = struct.unpack_from("<Ii", data, 14)
    if struct.unpack_from("<I", data, 30)[0] in _RUN_LENGTH_CODES:
        raise UnsupportedMode("Send BMP uncompressed.")
    if header_bytes > _SHORT_BMP_HEADER and width < 0:
        raise UndecodableImage("The file is damaged: its width is negative.")
