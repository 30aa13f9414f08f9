"""A picture as the service holds it between decoding and encoding: planes of numbers, and what has to come back with them.

C channels, H height, W width in pixels. Sample values are on the scale where 1.0 is white, whatever the depth of the file;
only a float file can hold values outside [0, 1], and they are neither clipped nor rescaled.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Format = Literal["png", "jpeg", "webp", "tiff", "bmp"]
Depth = Literal["8", "16", "float"]
Plane = NDArray[np.float32]  # (H, W)
Planes = NDArray[np.float32]  # (C, H, W)

FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {name: f"image/{name}" for name in FORMATS}
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp",),
}

# What each format can hold here, deepest last.
DEPTHS: dict[Format, tuple[Depth, ...]] = {
    "png": ("8", "16"),
    "jpeg": ("8",),
    "webp": ("8",),
    "tiff": ("8", "16", "float"),
    "bmp": ("8",),
}
LEVELS: dict[Depth, int | None] = {"8": 255, "16": 65535, "float": None}


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted, judged from the header before anything is decoded.

    Attributes:
        pixels: Most width x height; every four channels beyond the first four count as much again.
        formats: Formats read, by content.
    """

    pixels: int = 40_000_000
    formats: tuple[Format, ...] = FORMATS


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a file says.

    Attributes:
        mode: The sample layout in the words of the library that read it, for messages and logs.
        width: Pixels a row as stored, before the orientation is applied.
        height: Rows as stored.
        channels: Color channels without alpha.
        depth: Depth of a sample.
        rgb: Whether the channels are red, green and blue.
    """

    format: Format
    mode: str
    width: int
    height: int
    channels: int = 1
    depth: Depth = "8"
    rgb: bool = False

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Metadata:
    """What travels beside the pixels.

    Attributes:
        exif: A TIFF structure as in an EXIF block, without its "Exif" prefix; empty for none. Its orientation is 1.
        icc: ICC profile; empty for none.
        dpi: Horizontal and vertical resolution in dots an inch.
        software: What made the picture, written where the format has a place for it.
    """

    exif: bytes = b""
    icc: bytes = b""
    dpi: tuple[float, float] | None = None
    software: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        planes: (C, H, W) float32, 1.0 = white: one gray plane, three of RGB, or any number of channels by themselves.
        rgb: Whether the planes are red, green and blue.
        alpha: (H, W) float32 in [0, 1], straight (never multiplied into the planes), or none.
        format: The file format it came from and goes back to by default.
        depth: The depth it came with and goes back to by default.
        metadata: What travels beside the pixels.
    """

    planes: Planes
    rgb: bool = False
    alpha: Plane | None = None
    format: Format = "png"
    depth: Depth = "8"
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def channels(self) -> int:
        """Color channels, alpha not counted."""
        return int(self.planes.shape[0])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.planes.shape[1])

    @property
    def width(self) -> int:
        """Pixels a row."""
        return int(self.planes.shape[2])
