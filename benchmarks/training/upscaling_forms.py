"""Forms of the network for super-resolution at equal training time, with and without an N3 block.

`python -m benchmarks.training.upscaling_forms SOURCE --images FOLDER --only NAME ...` trains each form on one thread, and writes
super-resolution-forms.md. Runs in the folder RUNS are resumed, and finished ones only evaluated.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.markdown import paragraph, row_of
from benchmarks.provenance import RESULTS, provenance
from models.machine import keep_freed_memory
from models.networks.config import AnyConfig
from models.networks.upscaling_net import FACTORS, EarlyUpscalingConfig, UpscalingConfig
from models.training.recipe import Recipe
from models.training.run import TrainingOptions, train
from models.training.trainer import fresh_network
from models.upscaling_evaluation import UpscalingScore, evaluate_upscaling, load_upscale, mean_scores, upscaling_score
from models.weights.files import Weights, load_weights

LATE = Recipe(factors=FACTORS, sigma_range=(0.0, 25.0), ema=0.998, crop=72, batch=8, learning_rate=1.5e-3)
TUNED = replace(LATE, freeze_statistics=True)
EARLY = replace(LATE, crop=36, batch=4)
"""Smaller crops, because this form computes at the resolution of the output; with large ones it would take few steps."""
FORMS: dict[str, tuple[AnyConfig, Recipe]] = {
    "enlarges at the end, N3 block, from n3unet": (UpscalingConfig(position="decoder"), TUNED),
    "enlarges at the end, no N3 block, from n3unet": (UpscalingConfig(position="none"), TUNED),
    "enlarges at the end, N3 block, fresh": (UpscalingConfig(position="decoder"), LATE),
    "enlarges first (as published), N3 block, fresh": (EarlyUpscalingConfig(), EARLY),
}
TEXTURES = ("brick", "grass", "gravel")


def main() -> None:
    """Train and evaluate the forms, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="images to train on: a folder, or a file of packed images")
    parser.add_argument("--images", type=Path, required=True, help="folder of the images to evaluate")
    parser.add_argument("--only", nargs="*", default=[], help="names of the images to evaluate; all by default")
    parser.add_argument("--minutes", type=float, default=10, help="training time of the forms that start from n3unet")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    lines = [
        *("# Forms of the network for super-resolution", "", provenance() + ".", ""),
        paragraph(
            "Two forms started with the trunk of the network that denoises (n3unet), without its coarsest level; they trained",
            f"for {arguments.minutes:g} minutes on one thread. The fresh ones trained for half of it. PSNR in dB on the gray",
            "image, without a border of as many pixels as the factor. The first columns are means over",
            f"{len(arguments.only) or 'all'} photographs, the others single textures of scikit-image, whose patches repeat.",
        ),
        "",
        row_of("form", "steps", *(f"x{f}" for f in FACTORS), *(f"{name} x{f}" for name in TEXTURES for f in FACTORS)),
    ]
    lines.append("|---" * (lines[-1].count("|") - 1) + "|")
    for number, (form, (config, recipe)) in enumerate(FORMS.items()):
        folder = arguments.runs / f"form-{number}"
        start = denoising_trunk(config) if recipe is TUNED else None
        options = TrainingOptions(arguments.minutes if start else arguments.minutes / 2, device="cpu")
        result = train([arguments.source], folder, recipe, options, config=config, start=start)
        photographs, textures = evaluate(result.weights, arguments.images, arguments.only)
        if not number:
            lines.append(_row("bicubic enlargement", "", photographs, textures, "psnr_bicubic"))
        lines.append(_row(form, f"{result.progress.step:,}", photographs, textures, "psnr"))
        print(lines[-1], flush=True)
    (arguments.out / "super-resolution-forms.md").write_text("\n".join(lines) + "\n")


def denoising_trunk(config: AnyConfig) -> Weights:
    """Return weights for super-resolution that start with the trunk of the shipped n3unet, as far as it has the same layers."""
    source = load_weights("n3unet")
    state = fresh_network(config.build, 0).state_dict()
    for name, value in state.items():
        if name == "first.weight":  # the last input plane tells the factor, which the trunk has not seen
            value.zero_()[:, : source.state[name].shape[1]] = source.state[name]
        elif not name.startswith("heads"):
            value.copy_(source.state[name])
    return replace(source, config=config, state=state)


def evaluate(weights: Path, images: Path, only: list[str]) -> tuple[list[UpscalingScore], list[UpscalingScore]]:
    """Return the scores of the photographs, and those of the textures."""
    from skimage import data

    upscale = load_upscale(weights, "cpu", "float32")
    photographs = list(evaluate_upscaling(upscale, images, FACTORS, only=only))
    crops = {name: torch.from_numpy(getattr(data, name)()[:384, :384]).float() / 255 for name in TEXTURES}
    textures = [upscaling_score(upscale, name, crop, factor) for name, crop in crops.items() for factor in FACTORS]
    return photographs, textures


def _row(form: str, steps: str, photographs: list[UpscalingScore], textures: list[UpscalingScore], name: str) -> str:
    means = mean_scores(photographs)
    figures = [means[factor][name] for factor in FACTORS] + [float(getattr(score, name)) for score in textures]
    return row_of(form, steps, *(f"{figure:.2f}" for figure in figures))


if __name__ == "__main__":
    main()
