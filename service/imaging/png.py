"""PNG beyond what Pillow does: it reads 16-bit color as 8-bit and cannot write it, and it fills missing rows with black."""

import logging
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from service.errors import UndecodableImage
from service.imaging.metadata import profile_for
from service.imaging.picture import Metadata
from service.imaging.structure import png_chunks

# A damaged file deserves an answer, not endless lines in the log.
logging.getLogger("imagecodecs").setLevel(logging.CRITICAL)

_AFTER_HEADER = 8 + 25  # the signature and the IHDR chunk
_SIGNATURE = 8
_DECODED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_INCH = 0.0254
_PIXEL_BYTES = 8  # at most: RGBA of 16 bits
_SLICE = 4096  # bytes of a file that are unpacked at a time, to a thousand times as many at most
_SURPLUS = 1 << 16  # bytes beyond the last row that some encoders leave


def bits_per_sample(data: bytes) -> int:
    """Return the number of bits per sample, from the header."""
    return data[24] if len(data) > 24 else 0


def has_gray_samples(data: bytes) -> bool:
    """Tell whether the samples are gray, with or without alpha, from the color type in the header."""
    return len(data) > 25 and data[25] in (0, 4)


def without_pixels(data: bytes) -> bytes:
    """Return a PNG file without its pixels. Its header and all metadata can be read from it, even what follows the pixels."""
    return data[:_SIGNATURE] + b"".join(data[start:end] for kind, start, end in png_chunks(data) if kind != b"IDAT")


def decode_png(data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a PNG to (H, W, C): gray, gray and alpha, RGB, or RGBA.

    Fewer than 8 bits become 8 bits, a palette becomes RGB, and a color key becomes alpha. Missing rows are an error.
    """
    _check_pixels(data)
    # The library unpacks every text and color profile, so leave these out.
    chunks = [data[start:end] for kind, start, end in png_chunks(data) if kind in _DECODED]
    samples: NDArray[Any] = imagecodecs.png_decode(data[:_SIGNATURE] + b"".join(chunks))
    return samples.reshape(*samples.shape[:2], -1)


def _check_pixels(data: bytes) -> None:
    """Refuse pixels that unpack to far more than the size in the header: the decoder would unpack all of them, for minutes."""
    room, inflater = _SURPLUS, zlib.decompressobj()
    for kind, start, end in png_chunks(data):
        # A chunk starts with its length and its kind, and ends with a checksum.
        first, last = start + 8, min(end - 4, len(data))
        if kind == b"IHDR" and last - first >= 8:
            width, height = struct.unpack_from(">II", data, first)
            room = 2 * height * (1 + _PIXEL_BYTES * width) + _SURPLUS  # twice, because interlacing adds rows
        for position in range(first, last if kind == b"IDAT" else first, _SLICE):
            room -= len(inflater.decompress(data[position : min(position + _SLICE, last)], room + 1))
            if room < 0:
                raise UndecodableImage("The file is damaged: its pixels unpack to more than the size in its header.")
            if inflater.eof:
                return


def encode_png(samples: NDArray[np.uint8] | NDArray[np.uint16], metadata: Metadata, channels: int) -> bytes:
    """Encode a PNG with its metadata.

    Args:
        samples: (H, W, C) with one to four channels, alpha last.
        metadata: Written as the chunks iCCP, pHYs, eXIf and tEXt.
        channels: Number of color channels among them, without alpha.
    """
    # The encoder's own estimate of its output size forgets one byte per row and fails on tall, narrow pictures.
    room = samples.nbytes + samples.nbytes // 8 + 16 * len(samples) + 4096
    # NumPy lets the strides of axes of length 1 be anything, but the encoder refuses a 1 x 1 picture whose strides are unusual.
    shape = samples.shape[:2] if samples.shape[2] == 1 else samples.shape
    file = imagecodecs.png_encode(np.ascontiguousarray(samples).reshape(-1).reshape(shape), 4, out=room)
    chunks = b""
    if profile := profile_for(metadata, channels):
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if metadata.dpi:
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *(round(dots / _INCH) for dots in metadata.dpi), 1))
    if metadata.exif:
        chunks += _chunk(b"eXIf", metadata.exif)
    if metadata.software:
        chunks += _chunk(b"tEXt", b"Software\0" + metadata.software.encode("latin-1", "replace"))
    return bytes(file[:_AFTER_HEADER] + chunks + file[_AFTER_HEADER:])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
