"""PNG, JPEG, WebP and BMP files, whose headers and metadata Pillow reads; it also decodes all but PNG."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import UndecodableImage, UnsupportedMode
from service.imaging.cmyk import srgb_profile, to_srgb
from service.imaging.decode_errors import DAMAGE, undecodable
from service.imaging.decoded import Decoded
from service.imaging.jpeg import read_structure, with_longer_scan
from service.imaging.picture import Depth, Header, InputFormat
from service.imaging.png import bits_per_sample, decode_png, has_gray_samples, without_pixels
from service.imaging.structure import check_bmp, check_png, check_webp
from service.imaging.tiff_directory import holds_too_much

# The limits count pixels from the header, so Pillow's own guard, which only warns at first, has nothing left to say.
Image.MAX_IMAGE_PIXELS = None

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "I;16": 1, "RGB": 3, "RGBA": 3, "P": 3, "CMYK": 3}


class PillowImage:
    """A PNG, JPEG, WebP or BMP file whose header has been read.

    Attributes:
        header: The header.
    """

    def __init__(self, data: bytes, name: InputFormat) -> None:
        """Read the header.

        Raises:
            UnsupportedMode: If there are several frames, or too many scans, segments or chunks, or the mode is not supported.
            UndecodableImage: If the header cannot be read.
        """
        self._jpeg_end = _check_structure(data, name)
        with undecodable():
            opened = without_pixels(data) if name == "png" else data
            self._image = Image.open(io.BytesIO(opened), formats=[name.upper()])
            self.header = _header(self._image, name, data)
        self._data = data

    def decode(self) -> Decoded:
        """Decode the samples, and convert CMYK to sRGB.

        Raises:
            UndecodableImage: If the file is damaged or truncated.
        """
        with undecodable(), self._image as image:
            samples = decode_png(self._data) if self.header.format == "png" else _samples(image)
            if self._jpeg_end is not None:
                self._check_last_scan(samples, self._jpeg_end)
            exif, info = _exif(image), image.info
            conversions: tuple[str, ...] = ()
            if image.mode == "CMYK":
                converted, code = to_srgb(image, info.get("icc_profile") or b"")
                samples, info, conversions = _samples(converted), {**info, "icc_profile": srgb_profile()}, (code,)
            image.close()  # to free its pixels: the job keeps this object until it ends
            return Decoded(samples, exif, info, conversions)

    def _check_last_scan(self, samples: NDArray[Any], end: int) -> None:
        """Refuse a JPEG file whose last scan was cut short, which no library reports."""
        with Image.open(io.BytesIO(with_longer_scan(self._data, end)), formats=["JPEG"]) as longer:
            if not np.array_equal(samples, _samples(longer)):
                raise UndecodableImage("The file is damaged or truncated.")


def _check_structure(data: bytes, name: InputFormat) -> int | None:
    """Refuse a file that could keep a decoder busy for long; return the offset of the end marker of a JPEG file."""
    if name == "jpeg":
        structure = read_structure(data)
        if not structure.complete:
            raise UndecodableImage("The file is damaged or truncated.")
        return structure.end
    {"png": check_png, "webp": check_webp, "bmp": check_bmp}[name](data)
    return None


def _header(image: Image.Image, name: InputFormat, data: bytes) -> Header:
    # A phone's JPEG may carry a second view; the first one is the picture.
    if getattr(image, "n_frames", 1) != 1 and image.format != "MPO":
        raise UnsupportedMode("Send a single frame; animated images are not supported.")
    if image.mode not in _CHANNELS:
        raise UnsupportedMode("Send 8-bit gray, RGB or palette, 16-bit PNG or TIFF, or CMYK as JPEG; alpha is supported.")
    if image.mode == "CMYK" and "adobe" not in image.info:
        raise UnsupportedMode("Send CMYK as JPEG with an Adobe marker: without it, the file does not say what 0 means.")
    deep = name == "png" and bits_per_sample(data) == 16
    # Pillow calls 16-bit gray with alpha RGBA.
    channels = 1 if deep and has_gray_samples(data) else _CHANNELS[image.mode]
    depth: Depth = "16" if deep else "8"
    return Header(name, image.width, image.height, channels, depth, channels == 3, image.has_transparency_data)


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
    """Decode samples (H, W, C), alpha last; two levels become 0 and 255, and a palette becomes RGB."""
    converted = {"1": "L", "P": "RGB"}.get(image.mode)
    samples = np.asarray(image.convert(converted) if converted else image)
    return samples.reshape(*samples.shape[:2], -1)
