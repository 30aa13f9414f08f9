"""What tests of the benchmarks share: small pictures, and the cells of a Markdown table."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise_pictures(folder: Path) -> Path:
    """Write two images, a little larger than a crop, into a folder, and return it."""
    folder.mkdir()
    for index in range(2):
        image = np.random.default_rng(index).integers(0, 256, (88, 82), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


def cells(line: str) -> list[str]:
    """Return the cells of a row of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]
