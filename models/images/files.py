"""Image files as 8-bit gray, converted as in the paper, or as 8-bit RGB. No other module in `models` uses Pillow.

Pillow is imported when the first image is opened: a machine that only trains on packed image sets does not need it.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.images.color import to_gray8

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
GRAY_MODES = frozenset({"L", "1"})
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


def image_files(folder: Path | str) -> list[Path]:
    """List the images directly inside a folder, sorted by name.

    Raises:
        ValueError: If the folder does not exist or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return files


def read_gray8(path: Path | str) -> NDArray[np.uint8]:
    """Read an image as 8-bit gray, (H, W); convert color with `to_gray8`.

    Raises:
        ValueError: If the file cannot be read as an image, or has more than 8 bits per channel, which this function never reduces
            silently.
    """
    with _opened(path) as image:
        if image.mode in GRAY_MODES:
            return np.asarray(image.convert("L"))
        return to_gray8(np.asarray(image.convert("RGB")))


def read_rgb8(path: Path | str) -> NDArray[np.uint8]:
    """Read an image as 8-bit RGB, (H, W, 3).

    Raises:
        ValueError: See `read_gray8`.
    """
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


@contextmanager
def _opened(path: Path | str) -> "Iterator[Image.Image]":
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode in DEEP_MODES:
                raise ValueError(f"{path} has more than 8 bits per channel (mode {image.mode})")
            yield image
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def read_gray(path: Path | str) -> Tensor:
    """Read an image as gray, (H, W) float32 in [0, 1]; see `read_gray8`."""
    return torch.from_numpy(read_gray8(path).astype(np.float32) / 255)


def through_jpeg(pixels: NDArray[np.uint8], quality: int, *, halved: bool) -> NDArray[np.uint8]:
    """Compress an 8-bit RGB image, (H, W, 3), as a JPEG file of this quality and return what a decoder makes of it.

    Args:
        pixels: The image.
        quality: 1 to 100.
        halved: Whether the color differences are stored at half the resolution (4:2:0).
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=quality, subsampling=2 if halved else 0)
    with Image.open(file) as image:
        return np.asarray(image)
