"""Folders of images: grayscale as the paper does it, and the packed training set."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
LUMA = np.array([0.2989, 0.5870, 0.1140])  # the paper's RGB to gray; Pillow's own differs by up to one level
GRAY_MODES = frozenset({"L", "1"})
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


def image_files(folder: Path | str) -> list[Path]:
    """List the images directly inside a folder, by name.

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
    """Read an image as 8-bit gray, (H, W): 0.2989 R + 0.5870 G + 0.1140 B, rounded, for a colour one.

    Raises:
        ValueError: If the file is no image that can be read, or deeper than 8 bits a channel (never cut silently).
    """
    try:
        with Image.open(path) as image:
            if image.mode in DEEP_MODES:
                raise ValueError(f"{path} has more than 8 bits a pixel (mode {image.mode})")
            if image.mode in GRAY_MODES:
                return np.asarray(image.convert("L"))
            rgb = np.asarray(image.convert("RGB"), dtype=np.float64)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    return np.rint(rgb @ LUMA).clip(0, 255).astype(np.uint8)


def read_gray(path: Path | str) -> Tensor:
    """Read an image as gray, (H, W) float32 in [0, 1]; see `read_gray8`."""
    return torch.from_numpy(read_gray8(path).astype(np.float32) / 255)
