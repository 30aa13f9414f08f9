"""PNG, JPEG, WebP and BMP files, opened by Pillow."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import UndecodableImage, UnsupportedMode
from service.imaging.decode_errors import DAMAGE, undecodable
from service.imaging.jpeg import read_structure, with_longer_scan
from service.imaging.picture import Depth, Format, Header
from service.imaging.png import bits_per_sample, decode_png, has_gray_samples
from service.imaging.structure import check_bmp, check_png, check_webp
from service.imaging.tiff_directory import holds_too_much

# The limits count pixels from the header, so Pillow's own guard, which only warns at first, has nothing left to say.
Image.MAX_IMAGE_PIXELS = None

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "I;16": 1, "RGB": 3, "RGBA": 3, "P": 3}


class PillowImage:
    """A PNG, JPEG, WebP or BMP file whose header has been read.

    Attributes:
        header: The header.
    """

    def __init__(self, data: bytes, name: Format) -> None:
        """Read the header.

        Raises:
            UnsupportedMode: If there are several frames, or too many scans, segments or chunks, or the mode is not supported.
            UndecodableImage: If the header cannot be read.
        """
        self._jpeg_end = _check_structure(data, name)
        with undecodable():
            self._image = Image.open(io.BytesIO(data), formats=[name.upper()])
            self.header = _header(self._image, name, data)
            if name == "png":
                _extend_color_key(self._image, bits_per_sample(data))
        self._data = data

    def decode(self) -> tuple[NDArray[Any], Image.Exif, Mapping[Any, Any]]:
        """Decode the samples.

        Returns:
            Samples (H, W, C), alpha last; EXIF; further entries by Pillow's names.

        Raises:
            UndecodableImage: If the file is damaged or truncated.
        """
        with undecodable(), self._image as image:
            image.load()
            deep = self.header.depth == "16"  # Pillow reads 16-bit color as 8-bit
            samples = decode_png(self._data) if deep else _samples(image)
            if self._jpeg_end is not None:
                self._check_last_scan(samples, self._jpeg_end)
            exif, info = _exif(image), image.info
            image.close()  # to free its pixels: the job keeps this object until it ends
            return samples, exif, info

    def _check_last_scan(self, samples: NDArray[Any], end: int) -> None:
        """Refuse a JPEG file whose last scan was cut short, which no library reports."""
        with Image.open(io.BytesIO(with_longer_scan(self._data, end)), formats=["JPEG"]) as longer:
            if not np.array_equal(samples, _samples(longer)):
                raise UndecodableImage("The file is damaged or truncated.")


def _check_structure(data: bytes, name: Format) -> int | None:
    """Refuse a file that could keep a decoder busy for long; return the offset of the end marker of a JPEG file."""
    if name == "jpeg":
        structure = read_structure(data)
        if not structure.complete:
            raise UndecodableImage("The file is damaged or truncated.")
        return structure.end
    {"png": check_png, "webp": check_webp, "bmp": check_bmp}[name](data)
    return None


def _header(image: Image.Image, name: Format, data: bytes) -> Header:
    # A phone's JPEG may carry a second view; the first one is the picture.
    if getattr(image, "n_frames", 1) != 1 and image.format != "MPO":
        raise UnsupportedMode("Send a single frame; animated images are not supported.")
    if image.mode not in _CHANNELS:
        raise UnsupportedMode("Send 8-bit gray, RGB or palette, or 16-bit PNG or TIFF; alpha is supported, CMYK is not.")
    deep = name == "png" and bits_per_sample(data) == 16
    # Pillow calls 16-bit gray with alpha RGBA.
    channels = 1 if deep and has_gray_samples(data) else _CHANNELS[image.mode]
    depth: Depth = "16" if deep else "8"
    return Header(name, image.width, image.height, channels, depth, channels == 3, image.has_transparency_data)


def _extend_color_key(image: Image.Image, bits: int) -> None:
    """Extend the color key of a gray PNG of 2 or 4 bits to 8 bits, as Pillow does with the samples, but not with the key."""
    if image.mode == "L" and bits in (2, 4) and image.has_transparency_data:
        highest = 2**bits - 1
        image.info["transparency"] = (image.info["transparency"] & highest) * (255 // highest)


def _exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF block; a damaged one is no reason to refuse the pixels."""
    try:
        text = image.info.get("Raw profile type exif", "")  # as ImageMagick writes it into PNG
        block = image.info.get("exif") or bytes.fromhex("".join(text.split("\n")[3:]))
        if holds_too_much(block.removeprefix(b"Exif\0\0")):
            return Image.Exif()
        return image.getexif()
    except DAMAGE:
        return Image.Exif()


def _samples(image: Image.Image) -> NDArray[np.uint8]:
    """Return samples (H, W, C), alpha last; two levels become 0 and 255, a palette becomes RGB, a color key becomes alpha."""
    if image.mode == "1":
        white = np.asarray(image)
        opaque = [white != bool(image.info["transparency"])] if image.has_transparency_data else []
        return np.stack([white, *opaque], axis=2) * np.uint8(255)
    if image.has_transparency_data and image.mode in ("L", "RGB", "P"):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    samples = np.asarray(image)
    return samples.reshape(*samples.shape[:2], -1)
