"""Compare choices of the training recipe by short runs that differ in one choice and share their seed.

`python -m benchmarks.training.compare_recipes SOURCES... --validation FOLDER --steps 150 [--from WEIGHTS | --features N]
[--variant NAME...]` prints a Markdown table of the PSNR on the validation images. With `--from`, its first row is that of the
weights that all runs start from. If the folder is BSDS500's `val`, only the 32 images that are not in BSD68 are used.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.images.files import image_files, read_gray
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser
from models.machine import keep_freed_memory
from models.networks.n3net import N3NetConfig
from models.training.recipe import Recipe
from models.training.run import TrainingOptions, train
from models.weights.files import Weights, load_weights

SPARE = (
    156065, 361010, 37073, 376043, 38082, 38092, 385039, 41033, 41069, 42012, 42049, 43074, 45096, 54082, 55073, 58060,
    62096, 65033, 66053, 69015, 69020, 69040, 76053, 78004, 8023, 85048, 86000, 86016, 86068, 87046, 89072, 97033,
)  # fmt: skip
"""BSDS500's validation images that are not in BSD68. BSD68 is for evaluation only."""
SIGMAS = (5, 25, 50, 70)
SIDE = 160
VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "paper relaxation": {"relaxation": "paper"},
    "independent noise": {"antithetic": False},
    "loss log_mse": {"loss": "log_mse"},
    "loss mse": {"loss": "mse"},
    "crops 160": {"crop": 160, "batch": 2},
    "crops 100": {"crop": 100, "batch": 5},
    "learning rate x 3": {"learning_rate": 3.0},
    "learning rate / 3": {"learning_rate": 1 / 3},
    "no warm-up": {"warmup_steps": 0},
    "no weight decay": {"weight_decay": 0.0},
    "AdamW": {"optimizer": "adamw"},
    "frozen statistics": {"freeze_statistics": True},
}


def validate(weights: Path | str, files: list[Path]) -> list[float]:
    """Return the mean PSNR at each of `SIGMAS` on the centers of the images."""
    denoiser = Denoiser.load(weights)
    means = []
    for sigma in SIGMAS:
        figures = []
        for index, path in enumerate(files):
            image = read_gray(path)
            top, left = (max(0, (length - SIDE) // 2) for length in image.shape)
            clean = image[top : top + SIDE, left : left + SIDE].contiguous()
            noisy = add_noise(clean, sigma / 255, index)
            figures.append(psnr(denoiser.denoise(noisy, sigma / 255), clean))
        means.append(sum(figures) / len(figures))
    return means


def row(name: str, figures: Sequence[float], minutes: float) -> str:
    """Return a row of the table, with the PSNR at each of `SIGMAS`."""
    return f"| {name} | {' | '.join(f'{figure:.3f}' for figure in figures)} | {minutes:.1f} |"


def run(
    name: str, sources: list[str], base: Recipe, config: N3NetConfig, start: Weights | None, device: str, folder: Path
) -> tuple[Path, float]:
    """Train one variant, and return its weights file and its computing time in minutes."""
    changes = dict(VARIANTS[name])
    if "learning_rate" in changes:
        changes["learning_rate"] *= base.learning_rate
    config = replace(config, relaxation=changes.pop("relaxation", config.relaxation))
    if start:
        start = replace(start, config=config)
    recipe, options = replace(base, **changes), TrainingOptions(device=device)
    result = train(sources, folder / name.replace("/", "by"), recipe, options, config=config, start=start)
    return result.weights, result.progress.seconds / 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", help="folders of training images, or packed image sets")
    parser.add_argument("--validation", type=Path, required=True, help="folder of validation images")
    parser.add_argument("--steps", type=int, default=150, help="number of steps of each run")
    parser.add_argument("--from", dest="start", help="weights to start from, instead of random ones: a shipped name or a file")
    parser.add_argument("--features", type=int, help="train a small network with 4 layers of this many features")
    parser.add_argument("--variant", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), help="variants to train")
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0, help="seed of every run")
    parser.add_argument("--freeze-statistics", action="store_true", help="freeze batch-norm statistics in every variant")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args(arguments)
    files = image_files(options.validation)
    files = [path for path in files if path.stem in map(str, SPARE)] or files
    start = load_weights(options.start) if options.start else None
    config = start.config if start else N3NetConfig()
    assert isinstance(config, N3NetConfig)
    if options.features:
        config = replace(config, features=options.features, embedding=options.features, depth=4)
    base = Recipe(
        steps=options.steps,
        seed=options.seed,
        learning_rate=options.learning_rate,
        freeze_statistics=options.freeze_statistics,
    )
    keep_freed_memory()  # as `n3denoise train` does
    print("| variant | " + " | ".join(f"sigma {sigma}" for sigma in SIGMAS) + " | minutes |")
    print("|---" * (len(SIGMAS) + 2) + "|")
    if start:
        print(row("start", validate(options.start, files), 0), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.variant:
            weights, minutes = run(name, options.sources, base, config, start, options.device, Path(folder))
            print(row(name, validate(weights, files), minutes), flush=True)


if __name__ == "__main__":
    main()
