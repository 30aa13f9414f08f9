"""Real photographs before and after, with an estimated and with a given sigma: crops for docs/photographs.md.

`python -m benchmarks.quality.photograph_crops` writes the pictures into docs/photographs, and prints what was estimated. The
photographs come with scikit-image, scikit-learn and Matplotlib.
"""

import argparse
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.provenance import ROOT
from benchmarks.quality.photographs import Models, unit
from models.images.files import read_rgb8
from models.weights.files import DEFAULT_NAME

SIDE = 256
GIVEN = 6
"""The sigma that the last picture of each row was denoised with."""


class Crop(NamedTuple):
    """A crop of a photograph: the package and path of the file, and the top left corner in pixels."""

    package: str
    path: str
    top: int
    left: int


CROPS = {
    "ihc": Crop("skimage", "data/ihc.png", 100, 100),
    "hubble": Crop("skimage", "data/hubble_deep_field.jpg", 300, 300),
    "hopper": Crop("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", 60, 200),
    "china": Crop("sklearn", "datasets/images/china.jpg", 60, 60),
    "camera": Crop("skimage", "data/camera.png", 90, 120),
    "moon": Crop("skimage", "data/moon.png", 150, 150),
    "clock": Crop("skimage", "data/clock_motion.png", 20, 80),
    "coins": Crop("skimage", "data/coins.png", 30, 60),
}


def main() -> None:
    """Denoise each photograph as a whole, and write a crop: before, after with `auto`, and after with a sigma that was given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "photographs", help="folder of the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    models = Models(DEFAULT_NAME)
    for name, crop in CROPS.items():
        pixels = read_rgb8(Path(str(files(crop.package))) / crop.path)
        planes = unit(pixels)
        gray = bool((pixels == pixels[..., :1]).all())
        result = models.run(planes[:1] if gray else planes, models.auto)
        given = models.photo.denoise(torch.from_numpy(planes[0] if gray else planes), GIVEN / 255).numpy()
        three = (planes, result.picture.planes, given)
        row = np.concatenate([_cut(np.broadcast_to(each, planes.shape), crop) for each in three], axis=1)
        Image.fromarray(row).save(arguments.out / f"{name}.png", optimize=True)
        assert result.estimate is not None
        figures = f"sigma {result.sigma:.1f}, confidence {result.estimate.confidence:.2f}"
        print(f"{name}: {figures}, {result.model or DEFAULT_NAME} {' '.join(result.warnings)}", flush=True)


def _cut(planes: NDArray[np.float32], crop: Crop) -> NDArray[np.uint8]:
    part = planes[:, crop.top : crop.top + SIDE, crop.left : crop.left + SIDE]
    cut: NDArray[np.uint8] = np.rint(part.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return cut


if __name__ == "__main__":
    main()
