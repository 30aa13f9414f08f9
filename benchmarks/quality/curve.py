"""A model's PSNR over the noise level, and how much it changes images that are clean or nearly clean.

`python -m benchmarks.quality.curve FOLDER --plot FILE.svg [--weights NAME]` prints the tables and writes the plot of a model
card.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.plots import svg_figure
from models.evaluation import Score, evaluate_folder
from models.images.files import image_files, read_gray
from models.inference.denoiser import Denoiser

CURVE = (5, 15, 25, 35, 45, 55, 65, 75)
CLEAN = (0, 0.5, 1)
WEAK = (3, 5)


def draw(scores: Sequence[Score], title: str, path: Path) -> None:
    """Draw the PSNR of the noisy and the denoised images over sigma: the mean and the range over the images."""
    sigmas = sorted({score.sigma for score in scores})
    with svg_figure(path, 6.4, 4) as figure:
        axes = figure.subplots()
        for name, label in (("psnr", "denoised"), ("psnr_noisy", "noisy")):
            rows = [[getattr(score, name) for score in scores if score.sigma == sigma] for sigma in sigmas]
            axes.plot(sigmas, [sum(row) / len(row) for row in rows], "o-", label=label, markersize=3)
            axes.fill_between(sigmas, [min(row) for row in rows], [max(row) for row in rows], alpha=0.15)
        axes.set(xlabel="sigma (0-255 scale)", ylabel="PSNR in dB", title=title)
        axes.legend()
        axes.grid(alpha=0.3)


def changes(denoiser: Denoiser, folder: Path, sigma: float) -> float:
    """Return the mean change of a clean image in gray levels when the denoiser is given this noise level."""
    means = []
    for path in image_files(folder):
        clean = read_gray(path)
        means.append((denoiser.denoise(clean, sigma / 255) - clean).abs().mean().item() * 255)
    return sum(means) / len(means)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate, print the tables, and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of clean images")
    parser.add_argument("--weights", default="default", help="name of shipped weights, or a file")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    options = parser.parse_args(arguments)
    denoiser = Denoiser.load(options.weights)
    print("| sigma given | change of a clean image, gray levels |\n|---|---|")
    for sigma in CLEAN:
        print(f"| {sigma:g} | {changes(denoiser, options.folder, sigma):.3f} |")
    print("\n| sigma | smallest gain of an image, dB | mean gain, dB |\n|---|---|---|")
    for sigma in WEAK:
        gains = [score.psnr - score.psnr_noisy for score in evaluate_folder(denoiser, options.folder, [sigma])]
        print(f"| {sigma:g} | {min(gains):.2f} | {sum(gains) / len(gains):.2f} |")
    if options.plot:
        scores = list(evaluate_folder(denoiser, options.folder, CURVE))
        draw(scores, f"{denoiser.info.weights} on {options.folder.name}", options.plot)


if __name__ == "__main__":
    main()
