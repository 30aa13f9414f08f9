"""Image files decoded to pictures, and pictures encoded to files.

The content decides the format, limits are checked on the header before anything is decoded, and nothing is clipped, rescaled or
converted silently: `Picture.conversions` says what was.
"""

import io
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images.color import GRAY_WEIGHTS
from service.errors import InvalidParameter, TooManyPixels, UndecodableImage, UnsupportedFormat, UnsupportedMode
from service.imaging.decoded import Decoded
from service.imaging.heif import HeifImage
from service.imaging.metadata import exif_block, profile_for, read_metadata
from service.imaging.picture import (
    COUNTED_SIDE,
    DEPTHS,
    LEVELS,
    LONGEST_SIDE,
    DecodeLimits,
    Depth,
    Format,
    Header,
    InputFormat,
    Picture,
    Plane,
    Planes,
)
from service.imaging.pillow_image import PillowImage
from service.imaging.png import encode_png
from service.imaging.tiff import TiffImage, encode_tiff

_SIGNATURES: tuple[tuple[bytes, int, InputFormat], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, "png"),
    (b"\xff\xd8\xff", 0, "jpeg"),
    (b"WEBP", 8, "webp"),
    (b"II*\0", 0, "tiff"),
    (b"MM\0*", 0, "tiff"),
    (b"II+\0", 0, "tiff"),  # BigTIFF, which is refused with a message of its own
    (b"MM\0+", 0, "tiff"),
    (b"BM", 0, "bmp"),
)
# AVIF and HEIC are told apart by the brands that they are compatible with.
_BRANDS: dict[InputFormat, set[bytes]] = {
    "avif": {b"avif", b"avis"},
    "heic": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
}
_LONGEST_BRANDS = 1024
# 12 megapixels take 2 seconds; speed 8 takes 4.5 and gains 0.05 dB. Alpha is lossless.
_AVIF: dict[str, Any] = {"quality": 95, "speed": 9, "max_threads": 1, "advanced": {"alpha:lossless": "1"}}
_LARGEST_SAMPLE = 1e38  # float32 ends at 3.4e38, and a network, or an enlargement, returns values beyond those that it gets
_INVISIBLE = 1e-6  # Colors whose alpha is no larger are not divided by it; the least alpha of 16 bits is 1.5e-5.
_SAMPLE_TYPES: dict[Depth, Any] = {"8": np.uint8, "16": np.uint16, "float": np.float32}
# The EXIF orientations as (transpose, flip rows, flip columns), applied in that order.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class _Contents(Protocol):
    """A file that a library has opened: its header is read, its samples are not."""

    @property
    def header(self) -> Header:
        """The header."""

    def decode(self) -> Decoded:
        """Return what is in the file."""


class ImageFile:
    """An image file whose header has been read and accepted; the file is parsed once.

    Attributes:
        header: The header.
    """

    def __init__(self, contents: _Contents) -> None:
        self.header = contents.header
        self._contents = contents

    def decode(self) -> Picture:
        """Decode the file: apply its orientation, look up its palette, separate its alpha, and divide the colors by it if needed.

        Raises:
            UndecodableImage: If the pixels cannot be decoded, the file is truncated, or a float is not finite or too large.
        """
        header = self.header
        samples, exif, info, conversions = self._contents.decode()
        levels = LEVELS[header.depth]
        metadata, turn = read_metadata(exif, info, *samples.shape[1::-1])
        transpose, rows, columns = _TURNS[turn]
        samples = samples.transpose(2, 1, 0) if transpose else samples.transpose(2, 0, 1)
        samples = samples[:, :: -1 if rows else 1, :: -1 if columns else 1]
        planes = np.ascontiguousarray(samples, np.float32)
        if levels is not None:
            planes /= levels
        everything = planes
        alpha = planes[header.channels] if len(planes) > header.channels else None
        planes = planes[: header.channels]
        if alpha is not None and header.premultiplied:
            _divide(planes, alpha, white=None if levels is None else 1.0)
            conversions = (*conversions, "was-premultiplied")
        if levels is None:
            _check_floats(everything)
        return Picture(planes, header.rgb, alpha, header.output_format, header.depth, metadata, conversions)


def open_image(data: bytes, limits: DecodeLimits) -> ImageFile:
    """Open a file, read its header, and refuse what will not be decoded.

    Raises:
        UnsupportedFormat: If the format of the content is not in the limits.
        UnsupportedMode: If the mode or the depth is not supported, or there are several frames or too many channels.
        TooManyPixels: If there are more pixels than the limits allow.
        UndecodableImage: If the header cannot be read.
    """
    if not data:
        raise UndecodableImage("The file is empty.")
    name = sniff(data)
    if name is None or name not in limits.formats:
        raise UnsupportedFormat(f"Send one of {', '.join(limits.formats)}; the content decides, not the name.")
    file = ImageFile(_opened(data, name))
    header = file.header
    if not header.width * header.height:
        raise UndecodableImage("The image has no pixels.")
    if header.channels > limits.channels:
        raise UnsupportedMode(f"The limit is {limits.channels} channels.", limit_channels=limits.channels)
    if header.counted_pixels > limits.pixels:
        thin = (
            f" Sides below {COUNTED_SIDE} pixels count as {COUNTED_SIDE}."
            if min(header.width, header.height) < COUNTED_SIDE
            else ""
        )
        raise TooManyPixels(f"The limit is {limits.pixels} pixels.{thin}", limit_pixels=limits.pixels)
    return file


def _opened(data: bytes, name: InputFormat) -> _Contents:
    if name == "tiff":
        return TiffImage(data)
    return HeifImage(data) if name in _BRANDS else PillowImage(data, name)


def decode(data: bytes, limits: DecodeLimits) -> Picture:
    """Open and decode a file.

    Raises:
        ServiceError: Whatever `open_image` and `ImageFile.decode` raise.
    """
    return open_image(data, limits).decode()


def sniff(data: bytes) -> InputFormat | None:
    """Return the format of a file by its first bytes, or None if it is unknown."""
    for signature, offset, name in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            return name
    if data[4:8] == b"ftyp":
        listed = data[8 : min(int.from_bytes(data[:4], "big"), _LONGEST_BRANDS)]
        brands = {listed[start : start + 4] for start in range(0, len(listed), 4)}
        return next((name for name, known in _BRANDS.items() if brands & known), None)
    return None


def output_form(picture: Picture, file_format: Format | None, depth: Depth | None) -> tuple[Format, Depth]:
    """Return the format and depth in which `encode` will write a picture. Call this before the picture is denoised.

    Raises:
        InvalidParameter: If the format cannot hold the depth, the size, the alpha or the channels.
    """
    file_format = file_format or picture.format
    held = DEPTHS[file_format]
    depth = depth or (picture.depth if picture.depth in held else held[-1])
    if depth not in held:
        raise InvalidParameter(f"{file_format} supports only depth {' or '.join(held)}.")
    check_size(file_format, picture.width, picture.height)
    if picture.alpha is not None and file_format in ("jpeg", "bmp"):
        raise InvalidParameter(f"{file_format} cannot store the alpha channel; use png, webp or tiff.")
    if picture.channels != (3 if picture.rgb else 1) and file_format != "tiff":
        raise InvalidParameter(f"{file_format} supports only gray and RGB; use tiff.")
    return file_format, depth


def check_size(file_format: Format, width: int, height: int) -> None:
    """Refuse a size that a format cannot hold.

    Raises:
        InvalidParameter: If a side is too long for the format; the message names formats that can hold it.
    """
    longest = max(width, height)
    if longest > LONGEST_SIDE[file_format]:
        others = " or ".join(name for name in ("png", "tiff") if longest <= LONGEST_SIDE[name])
        raise InvalidParameter(f"{file_format} supports sides of up to {LONGEST_SIDE[file_format]} pixels; use {others}.")


def encode(picture: Picture, file_format: Format | None = None, depth: Depth | None = None) -> bytes:
    """Encode a picture; integer depths round to the nearest level and clip at black and white.

    Args:
        picture: Its metadata is written as far as the format has a place for it.
        file_format: None keeps the format of the picture. JPEG and AVIF are written at quality 95 without chroma
            subsampling; WebP is written losslessly, and always as RGB, because it has no gray.
        depth: None keeps the depth of the picture as far as the format can hold it.

    Raises:
        InvalidParameter: If the format cannot hold the depth, the size, the alpha or the channels.
    """
    file_format, depth = output_form(picture, file_format, depth)
    samples = quantized(picture, depth)
    if file_format == "tiff":
        return encode_tiff(samples, picture)
    if file_format == "png":
        return encode_png(samples, picture.metadata, picture.channels)
    return _encode_with_pillow(samples, picture, file_format)


def quantized(picture: Picture, depth: Depth) -> NDArray[Any]:
    """Return samples (H, W, C) at a depth, alpha last: integers rounded and clipped, floats unchanged."""
    planes = [*picture.planes] if picture.alpha is None else [*picture.planes, picture.alpha]
    levels = LEVELS[depth]
    samples = np.empty((picture.height, picture.width, len(planes)), _SAMPLE_TYPES[depth])
    for channel, plane in enumerate(planes):  # one by one, to save memory on large pictures
        samples[..., channel] = plane if levels is None else np.rint(np.clip(plane, 0, 1) * np.float32(levels))
    return samples


def to_gray(picture: Picture) -> Picture:
    """Convert an RGB picture to gray, 0.2989 R + 0.5870 G + 0.1140 B rounded to the levels of its depth, as the paper does.

    Return any other picture unchanged.
    """
    if not picture.rgb:
        return picture
    levels = LEVELS[picture.depth]
    gray = np.zeros(picture.planes.shape[1:])
    for weight, plane in zip(GRAY_WEIGHTS, picture.planes, strict=True):  # one by one, to save memory on large pictures
        gray += weight * plane
    if levels is not None:
        gray = np.rint(gray * levels) / levels
    return replace(picture, planes=gray[None].astype(np.float32), rgb=False)


def _divide(planes: Planes, alpha: Plane, white: float | None) -> None:
    """Divide colors by the alpha that they were multiplied by, in place, and clip them at white if there is one."""
    visible = alpha > _INVISIBLE
    for plane in planes:  # one by one, to save memory on large pictures
        with np.errstate(over="ignore"):  # `_check_floats` refuses the result
            np.divide(plane, alpha, out=plane, where=visible)
        if white is not None:
            np.minimum(plane, np.float32(white), out=plane)


def _check_floats(samples: Planes) -> None:
    """Refuse samples with which the network cannot compute.

    Raises:
        UndecodableImage: If a sample is not finite, or so large that a result might not be.
    """
    if not -_LARGEST_SAMPLE <= samples.min() <= samples.max() <= _LARGEST_SAMPLE:  # both are NaN if one sample is
        raise UndecodableImage(
            f"The image has samples that are not finite numbers or lie beyond ±{_LARGEST_SAMPLE:g}. If they stand for missing "
            "data, replace them with plausible values."
        )


def _encode_with_pillow(samples: NDArray[Any], picture: Picture, file_format: Format) -> bytes:
    metadata = picture.metadata
    options: dict[str, Any] = {
        "jpeg": {"quality": 95, "subsampling": 0},
        "webp": {"lossless": True, "exact": True, "quality": 50},
        "avif": {"subsampling": "4:0:0" if samples.shape[2] == 1 else "4:4:4", **_AVIF},
        "bmp": {},
    }[file_format]
    if metadata.dpi and file_format not in ("webp", "avif"):
        options["dpi"] = metadata.dpi
    if file_format != "bmp":
        # WebP is always color, so a gray profile has no place in it.
        fits = file_format != "webp" or picture.rgb
        options |= {"exif": exif_block(metadata), "icc_profile": profile_for(metadata, picture.channels) if fits else b""}
    if samples.shape[2] == 2:
        samples = samples[..., [0, 0, 0, 1]]
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    buffer = io.BytesIO()
    image.save(buffer, file_format.upper(), **options)
    return buffer.getvalue()
