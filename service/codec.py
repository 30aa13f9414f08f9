"""Files to pictures and back: format by content, limits from the header, nothing clipped, rescaled or converted in silence."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.errors import InvalidParameter, TooManyPixels, UndecodableImage, UnsupportedFormat, UnsupportedMode
from service.picture import DEPTHS, LEVELS, Depth, Format, Header, Limits, Picture

GRAY_WEIGHTS = np.array([0.2989, 0.5870, 0.1140], dtype=np.float64)  # as the paper's evaluation has it

# All that image libraries are seen to raise over bytes they cannot read.
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error, zlib.error)

# Pixels are limited here from the header, so that Pillow's own guard, a warning first, has nothing left to say.
Image.MAX_IMAGE_PIXELS = None

_SIGNATURES: tuple[tuple[bytes, int, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, "png"),
    (b"\xff\xd8\xff", 0, "jpeg"),
    (b"WEBP", 8, "webp"),
    (b"II*\0", 0, "tiff"),
    (b"MM\0*", 0, "tiff"),
    (b"BM", 0, "bmp"),
)
_CHANNELS = {"L": 1, "RGB": 3}


def sniff(data: bytes) -> Format | None:
    """The format of a file by its first bytes, or None."""
    for signature, offset, name in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            return name
    return None


def probe(data: bytes, limits: Limits) -> Header:
    """Read the header of a file and refuse what will not be decoded.

    Raises:
        UnsupportedFormat: If the content is of a format not in the limits.
        UnsupportedMode: If its mode or depth is not read, or it has several frames.
        TooManyPixels: If it has more pixels than the limits allow.
        UndecodableImage: If the header cannot be read.
    """
    name = sniff(data)
    if name is None or name not in limits.formats:
        raise UnsupportedFormat(f"Send one of {', '.join(limits.formats)}; the content decides, not the name.")
    with _opened(data, name) as image:
        return _checked(image, name, limits)


def decode(data: bytes, limits: Limits) -> Picture:
    """Decode a file whole.

    Raises:
        ServiceError: What `probe` raises.
        UndecodableImage: If the pixels cannot be decoded or the file is truncated.
    """
    header = probe(data, limits)
    with _opened(data, header.format) as image:
        image.load()
        samples = np.asarray(ImageOps.exif_transpose(image))
    planes = samples.reshape(*samples.shape[:2], -1).transpose(2, 0, 1)
    return Picture(planes.astype(np.float32) / np.float32(255), format=header.format)


def encode(picture: Picture, file_format: Format | None = None, depth: Depth | None = None) -> bytes:
    """Encode a picture; integer depths round to the nearest level and clip at black and white.

    Args:
        picture: One or three planes.
        file_format: None keeps the format of the picture. JPEG is written at quality 95 without chroma subsampling, WebP
            without loss and always as RGB, for it has no gray.
        depth: None keeps the depth of the picture as far as the format can hold it.

    Raises:
        InvalidParameter: If the format cannot hold the depth or the channels.
    """
    file_format = file_format or picture.format
    held = DEPTHS[file_format]
    depth = depth or (picture.depth if picture.depth in held else held[-1])
    if depth not in held:
        raise InvalidParameter(f"{file_format} holds depth {' or '.join(held)} only.")
    levels = LEVELS[depth]
    assert levels is not None
    samples = np.rint(np.clip(picture.planes, 0, 1) * np.float32(levels)).astype(np.uint8)
    image = Image.fromarray(samples[0] if picture.channels == 1 else np.ascontiguousarray(samples.transpose(1, 2, 0)))
    options: dict[Format, dict[str, Any]] = {
        "png": {"compress_level": 4},
        "jpeg": {"quality": 95, "subsampling": 0},
        "webp": {"lossless": True, "exact": True, "quality": 50},
        "tiff": {"compression": "tiff_adobe_deflate"},
        "bmp": {},
    }
    buffer = io.BytesIO()
    image.save(buffer, file_format.upper(), **options[file_format])
    return buffer.getvalue()


def to_gray(picture: Picture) -> Picture:
    """The gray picture of a colour one, 0.2989 R + 0.5870 G + 0.1140 B rounded to the levels of its depth, as in the paper.

    A picture of one plane, or of channels that are not RGB, is returned as it is.
    """
    if picture.channels != 3:
        return picture
    levels = LEVELS[picture.depth]
    gray: NDArray[np.float64] = np.tensordot(GRAY_WEIGHTS, picture.planes, axes=1)
    if levels is not None:
        gray = np.rint(gray * levels) / levels
    return replace(picture, planes=gray[None].astype(np.float32))


@contextmanager
def _opened(data: bytes, name: Format) -> Iterator[Image.Image]:
    """Open with Pillow; whatever its decoder chokes on is the file's fault."""
    try:
        with Image.open(io.BytesIO(data), formats=[name.upper()]) as image:
            yield image
    except DAMAGE as error:
        raise UndecodableImage("The file is damaged or truncated.") from error


def _checked(image: Image.Image, name: Format, limits: Limits) -> Header:
    if getattr(image, "n_frames", 1) != 1 and image.format != "MPO":  # a phone's JPEG may carry a second view
        raise UnsupportedMode("Send one frame: animated and multi-page images are not read.")
    if image.mode not in _CHANNELS:
        raise UnsupportedMode("Send 8-bit gray or RGB.")
    header = Header(name, image.mode, image.width, image.height, _CHANNELS[image.mode])
    if header.pixels > limits.pixels:
        raise TooManyPixels(f"The limit is {limits.pixels} pixels.", limit=limits.pixels)
    return header
