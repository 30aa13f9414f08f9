"""What tests of training share: a folder of small pictures, a tiny network, and a recipe for a few steps."""

from pathlib import Path

import numpy as np
from PIL import Image

from models.networks.n3net import N3NetConfig
from models.training.recipe import Recipe

TINY = N3NetConfig(features=8, depth=2, planes=8, embedding=8, window=5, k=3)
RECIPE = Recipe(crop=40, batch=2, steps=6, learning_rate=2e-3, warmup_steps=2, seed=5)


def draw_pictures(folder: Path) -> Path:
    """Draw ten images with edges and gradients into a folder, and return it."""
    rng = np.random.default_rng(0)
    for index in range(10):
        y, x = np.mgrid[:90, :100]
        a, b, c = rng.uniform(0.02, 0.3, 3)
        image = 128 + 60 * np.sign(np.sin(a * x + b * y)) + 50 * np.sin(c * (x - y))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder
