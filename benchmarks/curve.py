"""A model's PSNR over the noise level, and what it does to images that are nearly clean.

`python -m benchmarks.curve FOLDER --plot FILE.svg [--weights NAME]` writes the plot of a model's card and prints its tables.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot

from models.evaluation import Score, evaluate
from models.inference.denoiser import Denoiser
from models.training.image_set import image_files, read_gray

CURVE = (5, 15, 25, 35, 45, 55, 65, 75)
CLEAN = (0, 0.5, 1)
WEAK = (3, 5)


def draw(scores: Sequence[Score], title: str, path: Path) -> None:
    """Plot noisy and denoised PSNR over sigma, the mean with the range of the images."""
    sigmas = sorted({score.sigma for score in scores})
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    for name, label in (("psnr", "denoised"), ("psnr_noisy", "noisy")):
        rows = [[getattr(score, name) for score in scores if score.sigma == sigma] for sigma in sigmas]
        axes.plot(sigmas, [sum(row) / len(row) for row in rows], "o-", label=label, markersize=3)
        axes.fill_between(sigmas, [min(row) for row in rows], [max(row) for row in rows], alpha=0.15)
    axes.set(xlabel="sigma (0-255 scale)", ylabel="PSNR in dB", title=title)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def changes(denoiser: Denoiser, folder: Path, sigma: float) -> float:
    """Return by how many gray levels on average a clean image changes when this noise level is stated."""
    means = []
    for path in image_files(folder):
        clean = read_gray(path)
        means.append((denoiser.denoise(clean, sigma / 255) - clean).abs().mean().item() * 255)
    return sum(means) / len(means)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate, plot and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    denoiser = Denoiser.load(options.weights)
    print("| stated sigma | change of a clean image, gray levels |\n|---|---|")
    for sigma in CLEAN:
        print(f"| {sigma:g} | {changes(denoiser, options.folder, sigma):.3f} |")
    print("\n| sigma | least gain of an image, dB | mean gain, dB |\n|---|---|---|")
    for sigma in WEAK:
        gains = [score.psnr - score.psnr_noisy for score in evaluate(denoiser, options.folder, [sigma])]
        print(f"| {sigma:g} | {min(gains):.2f} | {sum(gains) / len(gains):.2f} |")
    if options.plot:
        scores = list(evaluate(denoiser, options.folder, CURVE))
        draw(scores, f"{denoiser.name} on {options.folder.name}", options.plot)


if __name__ == "__main__":
    main()
