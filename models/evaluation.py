"""Evaluation as in the paper's table: Gaussian noise on a folder's images, PSNR and SSIM of what the network returns."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from models.images.metrics import psnr, ssim
from models.images.noise import add_noise
from models.methods import Method
from models.training.image_set import image_files, read_gray
from models.weights.files import check_sigma


@dataclass(frozen=True)
class Score:
    """One image, at one noise level, with the noise of one seed.

    Attributes:
        image: File name.
        sigma: 0-255 scale.
        seed: The evaluation's seed, from 0; the noise generator's is this plus the image's index in name order.
        psnr_noisy: dB, of the noisy image, neither clipped nor rounded.
        psnr: dB, of the denoised image, likewise.
        ssim: Of the denoised image.
        seconds: That denoising took.
        psnr_ensemble: dB, of the mean over the eight flips and rotations; None unless asked for.
        ssim_ensemble: Likewise.
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
        """Return the fields that are there; an infinite PSNR, which JSON cannot say, is None."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
            if value is not None
        }


def evaluate(
    method: Method, folder: Path | str, sigmas: Sequence[float], seeds: int = 1, ensemble: bool = False
) -> Iterator[Score]:
    """Denoise every image of a folder at every noise level with the noise of every seed.

    Args:
        method: What to evaluate.
        folder: Images, gray or color; color becomes gray as in `models.training.image_set.read_gray8`.
        sigmas: Noise levels on the 0-255 scale.
        seeds: How many draws of the noise.
        ensemble: Whether to denoise all eight flips and rotations as well and average, at eight times the cost.

    Yields:
        A score each, images in name order first, then sigmas, then seeds.

    Raises:
        ValueError: If the folder has no image, a file cannot be read, or the weights are not for a noise level.
    """
    for sigma in sigmas:
        check_sigma(sigma, method.sigma_range)
    for index, path in enumerate(image_files(folder)):
        clean = read_gray(path)
        for sigma in sigmas:
            for seed in range(seeds):
                noisy = add_noise(clean, sigma / 255, seed + index)
                begin = time.perf_counter()
                denoised = method.denoise(noisy, sigma / 255)
                seconds = time.perf_counter() - begin
                score = (psnr(noisy, clean), psnr(denoised, clean), ssim(denoised, clean), seconds)
                if ensemble:
                    denoised = self_ensemble(method, noisy, sigma / 255)
                    yield Score(path.name, sigma, seed, *score, psnr(denoised, clean), ssim(denoised, clean))
                else:
                    yield Score(path.name, sigma, seed, *score)


def self_ensemble(method: Method, noisy: Tensor, sigma: float) -> Tensor:
    """Return the mean of what a method makes of the image's eight flips and rotations, turned back.

    Args:
        method: What to denoise with.
        noisy: (H, W).
        sigma: On the [0, 1] scale.

    Returns:
        (H, W).
    """
    total = torch.zeros_like(noisy)
    for turns in range(4):
        for flip in (False, True):
            turned = torch.rot90(noisy, turns)
            seen = method.denoise((turned.flip(0) if flip else turned).contiguous(), sigma)
            total += torch.rot90(seen.flip(0) if flip else seen, -turns)
    return total / 8


def mean_scores(scores: Sequence[Score]) -> dict[float, dict[str, float]]:
    """Return for each sigma the mean over images and seeds of PSNR, SSIM, seconds, and the ensemble's where they are there."""
    means: dict[float, dict[str, float]] = {}
    for sigma in dict.fromkeys(score.sigma for score in scores):
        some = [score for score in scores if score.sigma == sigma]
        names = ("psnr", "ssim", "seconds") + ("psnr_ensemble", "ssim_ensemble") * (some[0].psnr_ensemble is not None)
        means[sigma] = {name: fmean(getattr(score, name) for score in some) for name in names}
    return means


def report(scores: Sequence[Score]) -> dict[str, Any]:
    """Return one folder's scores and their means as plain values for JSON; the keys of the means are sigmas as text."""
    means = {
        f"{sigma:g}": {name: value if math.isfinite(value) else None for name, value in mean.items()}
        for sigma, mean in mean_scores(scores).items()
    }
    return {"images": [score.asdict() for score in scores], "mean": means}
