"""Folders of small images for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_pictures(folder: Path) -> Path:
    """Draw ten images with edges and gradients into a folder, and return it."""
    rng = np.random.default_rng(0)
    for index in range(10):
        y, x = np.mgrid[:90, :100]
        a, b, c = rng.uniform(0.02, 0.3, 3)
        image = 128 + 60 * np.sign(np.sin(a * x + b * y)) + 50 * np.sin(c * (x - y))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def noise_pictures(folder: Path) -> Path:
    """Write two images, a little larger than a crop, into a folder, and return it."""
    folder.mkdir()
    for index in range(2):
        image = np.random.default_rng(index).integers(0, 256, (88, 82), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


def gray_and_color(folder: Path) -> Path:
    """Write a gray and a color image of random pixels, a.png and b.png, into a folder, and return it."""
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (24, 31)), ("b.png", (40, 22, 3))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder
