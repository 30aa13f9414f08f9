"""Evaluation as in the paper's table: add Gaussian noise to a folder's images, denoise them, and measure PSNR and SSIM."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from models.images.files import image_files, read_gray
from models.images.metrics import plain_values, psnr, ssim
from models.images.noise import add_noise, check_sigma
from models.images.self_ensemble import self_ensemble
from models.methods import Method


@dataclass(frozen=True)
class Score:
    """Figures of one image at one noise level, with the noise of one seed.

    Attributes:
        image: File name.
        sigma: Noise level on the 0-255 scale.
        seed: Seed of the evaluation, counted from 0. The noise generator's seed is this plus the image's index in name order.
        psnr_noisy: PSNR of the noisy image in dB, neither clipped nor rounded.
        psnr: PSNR of the denoised image in dB, neither clipped nor rounded.
        ssim: SSIM of the denoised image; not a number if a side is shorter than 11 pixels.
        seconds: Time that denoising took.
        psnr_ensemble: PSNR in dB of the mean over the eight flips and rotations; None without the ensemble.
        ssim_ensemble: SSIM of that mean; None without the ensemble.
    """

    image: str
    sigma: float
    seed: int
    psnr_noisy: float
    psnr: float
    ssim: float
    seconds: float
    psnr_ensemble: float | None = None
    ssim_ensemble: float | None = None

    def asdict(self) -> dict[str, Any]:
        """Return the fields that are not None. A value that JSON cannot represent, such as an infinite PSNR, becomes None."""
        return plain_values(self)


Measure = Callable[[Method, Path, float, int, bool], tuple[float, ...]]
"""Adds noise to an image file, of a sigma on the 0-255 scale and from a seed, and measures the method, also with the ensemble if
that is wanted. Returns the fields of a `Score` from `psnr_noisy` on."""


def measure_gray(method: Method, path: Path, sigma: float, seed: int, ensemble: bool) -> tuple[float, ...]:
    """Measure a method on an image, gray or color; `models.images.files.read_gray8` converts color to gray. See `Measure`."""
    clean = read_gray(path)
    noisy = add_noise(clean, sigma / 255, seed)
    begin = time.perf_counter()
    denoised = method.denoise(noisy, sigma / 255)
    seconds = time.perf_counter() - begin
    figures = (psnr(noisy, clean), psnr(denoised, clean), ssim(denoised, clean), seconds)
    if not ensemble:
        return figures
    mean = self_ensemble(partial(method.denoise, sigma=sigma / 255), noisy)
    return (*figures, psnr(mean, clean), ssim(mean, clean))


def evaluate_folder(
    method: Method,
    folder: Path | str,
    sigmas: Sequence[float],
    seeds: int = 1,
    ensemble: bool = False,
    measure: Measure = measure_gray,
) -> Iterator[Score]:
    """Denoise every image of a folder at every noise level, with the noise of every seed.

    Args:
        method: The method to evaluate.
        folder: The images.
        sigmas: Noise levels on the 0-255 scale.
        seeds: Number of draws of the noise.
        ensemble: Whether to also measure the mean over all eight flips and rotations, at eight times the cost.
        measure: Measures one image.

    Yields:
        The scores, ordered by image name, then by noise level, then by seed.

    Raises:
        ValueError: If the folder has no image, a file cannot be read, or the method was not made for a noise level.
    """
    for sigma in sigmas:
        check_sigma(sigma, method.info.sigma_range)
    for index, path in enumerate(image_files(folder)):
        for sigma in sigmas:
            for seed in range(seeds):
                yield Score(path.name, sigma, seed, *measure(method, path, sigma, seed + index, ensemble))


def mean_scores(scores: Sequence[Score]) -> dict[float, dict[str, float]]:
    """Return, for each sigma, the mean PSNR, SSIM and seconds over images and seeds, and the ensemble's means if measured."""
    means: dict[float, dict[str, float]] = {}
    for sigma in dict.fromkeys(score.sigma for score in scores):
        some = [score for score in scores if score.sigma == sigma]
        names = ("psnr", "ssim", "seconds") + ("psnr_ensemble", "ssim_ensemble") * (some[0].psnr_ensemble is not None)
        means[sigma] = {name: fmean(getattr(score, name) for score in some) for name in names}
    return means


def report(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the scores of a folder and their means as plain values for JSON. The keys of the means are sigmas as text."""
    means = {
        f"{sigma:g}": {name: value if math.isfinite(value) else None for name, value in mean.items()}
        for sigma, mean in mean_scores(scores).items()
    }
    return {"images": [score.asdict() for score in scores], "mean": means}
