"""A picture between decoding and encoding: planes of numbers, and what must come back with them.

C is the number of channels, H the height and W the width in pixels. Samples are on the scale where 1.0 is white, whatever the
depth of the file. Only a float file can hold values outside [0, 1], and they are neither clipped nor rescaled.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Format = Literal["png", "jpeg", "webp", "avif", "tiff", "bmp"]
InputFormat = Literal["png", "jpeg", "webp", "avif", "tiff", "bmp", "heic"]
Depth = Literal["8", "16", "float"]
Plane = NDArray[np.float32]  # (H, W)
Planes = NDArray[np.float32]  # (C, H, W)

FORMATS: tuple[Format, ...] = get_args(Format)
INPUT_FORMATS: tuple[InputFormat, ...] = get_args(InputFormat)
MEDIA_TYPES: dict[Format, str] = {name: f"image/{name}" for name in FORMATS}
INPUT_MEDIA_TYPES = (*MEDIA_TYPES.values(), "image/heic", "image/heif")
FORMAT_ALIASES: dict[str, Format] = {"jpg": "jpeg", "tif": "tiff"}
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "avif": (".avif",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp",),
}
INPUT_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes) | {".heic", ".heif", ".hif"}

# The depths that each format can hold here, deepest last.
DEPTHS: dict[Format, tuple[Depth, ...]] = {
    "png": ("8", "16"),
    "jpeg": ("8",),
    "webp": ("8",),
    "avif": ("8",),
    "tiff": ("8", "16", "float"),
    "bmp": ("8",),
}
LEVELS: dict[Depth, int | None] = {"8": 255, "16": 65535, "float": None}
# The longest side in pixels that each writer accepts, or for AVIF most readers.
LONGEST_SIDE: dict[Format, int] = {
    "png": 1_000_000,
    "jpeg": 65_500,
    "webp": 16_383,
    "avif": 16_384,
    "tiff": 2**32 - 1,
    "bmp": 2**31 - 1,
}
CONVERSIONS = {
    "was-cmyk": "The picture was in CMYK. It was converted to sRGB by its color profile.",
    "guessed-cmyk": (
        "The picture was in CMYK without a color profile that can be used. It was converted to sRGB by a simple formula, so its "
        "colors are not exact."
    ),
    "was-premultiplied": (
        "The colors of the picture were multiplied by its alpha. They were divided by it first, and the result is not "
        "premultiplied."
    ),
    "unlabeled-colors": (
        "The file says by numbers, not by a color profile, that its colors are not sRGB, as HDR files do. The samples were kept, "
        "but the result does not say what they mean, so that its colors look different."
    ),
}
"""How a picture differs from its file: codes, and what they mean."""
MOST_CHANNELS = 16
# The limits count shorter sides as this long, because the networks extend them, to 20 or 24 pixels: a picture of one row takes as
# much memory as one of 20 rows.
COUNTED_SIDE = 32


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Which files are accepted, judged by the header before anything is decoded.

    Attributes:
        pixels: Maximum of `Header.counted_pixels`.
        channels: Maximum number of color channels, without alpha.
        formats: Accepted formats, by content.
    """

    pixels: int = 40_000_000
    channels: int = MOST_CHANNELS
    formats: tuple[InputFormat, ...] = INPUT_FORMATS


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file.

    Attributes:
        format: File format.
        width: Pixels per row as stored, before the orientation is applied.
        height: Rows as stored.
        channels: Number of color channels, without alpha.
        depth: Depth of a sample.
        rgb: Whether the channels are red, green and blue.
        alpha: Whether there is an alpha channel.
        premultiplied: Whether the colors were multiplied by alpha.
    """

    format: InputFormat
    width: int
    height: int
    channels: int = 1
    depth: Depth = "8"
    rgb: bool = False
    alpha: bool = False
    premultiplied: bool = False

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.width * self.height

    @property
    def counted_pixels(self) -> int:
        """Pixels as the limits count them.

        Sides below 32 pixels count as 32, and every further four channels, alpha included, count as much again.
        """
        return max(self.width, COUNTED_SIDE) * max(self.height, COUNTED_SIDE) * -(-(self.channels + self.alpha) // 4)

    @property
    def output_format(self) -> Format:
        """The format of the output unless another one is asked for.

        That of the file; but HEIC is not written, and BMP is not written with alpha.
        """
        if self.format == "heic":
            return "png" if self.alpha else "jpeg"
        return "png" if self.format == "bmp" and self.alpha else self.format


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata beside the pixels.

    Attributes:
        exif: The TIFF structure of an EXIF block, without its "Exif" prefix and with orientation 1; empty for none.
        icc: ICC profile; empty for none.
        dpi: Horizontal and vertical resolution in dots per inch.
        software: Name of what made the picture, written where the format has a place for it.
    """

    exif: bytes = b""
    icc: bytes = b""
    dpi: tuple[float, float] | None = None
    software: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        planes: (C, H, W) float32, 1.0 is white: one gray plane, three of RGB, or any number of unrelated channels.
        rgb: Whether the planes are red, green and blue.
        alpha: (H, W) float32 in [0, 1], straight (not multiplied into the planes), or None.
        format: The default format of the output, see `Header.output_format`.
        depth: The depth it came with, and the default of the output.
        metadata: Metadata beside the pixels.
        conversions: How it differs from its file: codes from `CONVERSIONS`.
    """

    planes: Planes
    rgb: bool = False
    alpha: Plane | None = None
    format: Format = "png"
    depth: Depth = "8"
    metadata: Metadata = field(default_factory=Metadata)
    conversions: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of color channels, without alpha."""
        return int(self.planes.shape[0])

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.planes.shape[1])

    @property
    def width(self) -> int:
        """Pixels per row."""
        return int(self.planes.shape[2])

    @property
    def colored(self) -> bool:
        """Whether it is RGB and its channels differ; RGB with equal channels is a gray picture."""
        return self.rgb and not all(np.array_equal(self.planes[0], plane) for plane in self.planes[1:])
