"""Evaluation of super-resolution: reduce a folder's images, enlarge them again, and measure PSNR and SSIM."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from models.images.files import image_files, read_gray
from models.images.metrics import plain_values, psnr, ssim
from models.images.noise import add_noise
from models.images.resize import enlarge, shrink
from models.images.self_ensemble import self_ensemble
from models.inference.denoiser import Denoiser
from models.inference.device import DType, choose_device, choose_dtype, default_budget
from models.methods import load_upscaler
from models.networks.n3net import N3NetConfig
from models.networks.upscaling_net import EarlyUpscalingConfig, check_factor
from models.weights.files import Weights, load_weights

Upscale = Callable[[Tensor, float, int], Tensor]
"""Maps a small image (h, w), its sigma on the [0, 1] scale and a factor f to the image (fh, fw)."""


@dataclass(frozen=True)
class UpscalingScore:
    """Figures of one image at one factor.

    Both PSNR and SSIM leave out a border of as many pixels as the factor, as is usual in the field. They are those of the gray
    image from 0 to 255. The field often reports luma from 16 to 235 instead, which gives 1.3 dB more for every method.

    Attributes:
        image: File name.
        factor: The factor.
        sigma: Level of the noise that was added to the small image, on the 0-255 scale.
        psnr_bicubic: PSNR of bicubic enlargement in dB.
        psnr: PSNR of the method in dB.
        ssim_bicubic: SSIM of bicubic enlargement; not a number if a side is shorter than 11 pixels.
        ssim: SSIM of the method.
        seconds: Time that the method took.
        psnr_ensemble: PSNR of the mean over the eight flips and rotations; None without the ensemble.
        ssim_ensemble: SSIM of that mean; None without the ensemble.
    """

    image: str
    factor: int
    sigma: float
    psnr_bicubic: float
    psnr: float
    ssim_bicubic: float
    ssim: float
    seconds: float
    psnr_ensemble: float | None = None
    ssim_ensemble: float | None = None

    def asdict(self) -> dict[str, Any]:
        """Return the fields that are not None. A value that JSON cannot represent, such as an infinite PSNR, becomes None."""
        return plain_values(self)


def evaluate_upscaling(
    upscale: Upscale,
    folder: Path | str,
    factors: Sequence[int],
    sigma: float = 0.0,
    only: Sequence[str] = (),
    ensemble: bool = False,
) -> Iterator[UpscalingScore]:
    """Reduce every image of a folder by every factor, and enlarge it again.

    Args:
        upscale: The method to evaluate.
        folder: Images, gray or color. `models.images.files.read_gray8` converts color to gray.
        factors: The factors.
        sigma: Noise level on the 0-255 scale; noise of this level is added to the small images.
        only: File names to evaluate; empty evaluates all images.
        ensemble: Whether to also measure the mean over all eight flips and rotations, at eight times the cost.

    Yields:
        The scores, ordered by image name, then by factor.

    Raises:
        ValueError: If the folder has no image, a file cannot be read, or the method was not made for a factor or the noise level.
    """
    paths = [path for path in image_files(folder) if not only or path.name in only]
    for index, path in enumerate(paths):
        image = read_gray(path)
        for factor in factors:
            yield upscaling_score(upscale, path.name, image, factor, sigma, index, ensemble)


def upscaling_score(
    upscale: Upscale, name: str, image: Tensor, factor: int, sigma: float = 0.0, seed: int = 0, ensemble: bool = False
) -> UpscalingScore:
    """Return the figures of one image.

    Args:
        upscale: The method to evaluate.
        name: Name of the image.
        image: (H, W) in [0, 1]. Rows and columns at the bottom and the right that do not fill a whole small pixel are cut off.
        factor: The factor.
        sigma: Noise level on the 0-255 scale.
        seed: Seed of the noise.
        ensemble: Whether to also measure the mean over all eight flips and rotations.

    Raises:
        ValueError: If nothing is left of the image without its border, or the method was not made for the factor or the noise
            level.
    """
    check_factor(factor)
    if min(image.shape) // factor < 3:
        raise ValueError(f"{name} is too small to be measured at factor {factor}")
    height, width = (side // factor * factor for side in image.shape)
    large = image[:height, :width]
    small = shrink(large[None, None], factor)[0, 0].mul(255).round().clamp(0, 255).div(255)  # as an 8-bit file stores it
    noisy = add_noise(small, sigma / 255, seed) if sigma else small
    begin = time.perf_counter()
    result = upscale(noisy, sigma / 255, factor)
    seconds = time.perf_counter() - begin
    results = [enlarge(noisy[None, None], factor)[0, 0], result]
    if ensemble:
        results.append(self_ensemble(lambda view: upscale(view, sigma / 255, factor), noisy))
    inner = slice(factor, -factor), slice(factor, -factor)
    figures = [
        (psnr(each[inner], large[inner]), ssim(each[inner], large[inner]) if min(large[inner].shape) >= 11 else math.nan)
        for each in results
    ]
    (psnr_bicubic, ssim_bicubic), (psnr_method, ssim_method), *averaged = figures
    score = UpscalingScore(name, factor, sigma, psnr_bicubic, psnr_method, ssim_bicubic, ssim_method, seconds)
    return replace(score, psnr_ensemble=averaged[0][0], ssim_ensemble=averaged[0][1]) if averaged else score


def load_upscale(
    weights: str | Path | None = None, device: str = "auto", dtype: DType = "auto", memory_budget: int | None = None
) -> Upscale:
    """Load a network for super-resolution of either kind, and return it as a method to evaluate.

    Args:
        weights: A name or the path of a weights file; None for the shipped weights.
        device: See `StreamedModel.load`.
        dtype: See `StreamedModel.load`.
        memory_budget: See `StreamedModel.load`.

    Raises:
        WeightsError: If the weights cannot be loaded, or are not those of a network for super-resolution.
        ValueError: See `StreamedModel.load`.
    """
    if weights is not None and isinstance((loaded := load_weights(weights)).config, EarlyUpscalingConfig):
        chosen, _ = choose_device(device)
        budget = default_budget(chosen) if memory_budget is None else memory_budget
        return _enlarging_first(loaded, chosen, choose_dtype(dtype, chosen), budget)
    return load_upscaler(weights=weights, device=device, dtype=dtype, memory_budget=memory_budget).upscale


def _enlarging_first(weights: Weights, device: torch.device, dtype: torch.dtype, memory_budget: int) -> Upscale:
    """Return an `EarlyUpscalingNet` as a method to evaluate. Its N3Net computes strip by strip on the enlarged image."""
    assert isinstance(weights.config, EarlyUpscalingConfig)
    state = {name.removeprefix("net."): value for name, value in weights.state.items()}
    n3net = replace(weights, config=N3NetConfig(**weights.config.asdict()), state=state)
    denoiser = Denoiser(n3net, device, dtype, memory_budget)

    def upscale(noisy: Tensor, sigma: float, factor: int) -> Tensor:
        return denoiser.denoise(enlarge(noisy[None, None], factor)[0, 0], sigma)

    return upscale


def mean_scores(scores: Sequence[UpscalingScore]) -> dict[int, dict[str, float]]:
    """Return, for each factor, the means over the images of all figures, those of the ensemble if they were measured."""
    averaged = bool(scores) and scores[0].psnr_ensemble is not None
    names = ("psnr_bicubic", "psnr", "ssim_bicubic", "ssim", "seconds") + ("psnr_ensemble", "ssim_ensemble") * averaged
    return {
        factor: {name: fmean(getattr(score, name) for score in scores if score.factor == factor) for name in names}
        for factor in dict.fromkeys(score.factor for score in scores)
    }


def report(scores: Sequence[UpscalingScore]) -> dict[str, Any]:
    """Return the scores of a folder and their means as plain values for JSON. The means are by sigma, then by factor, as text."""
    means = {
        f"{sigma:g}": {
            str(factor): {name: value if math.isfinite(value) else None for name, value in mean.items()}
            for factor, mean in mean_scores([score for score in scores if score.sigma == sigma]).items()
        }
        for sigma in dict.fromkeys(score.sigma for score in scores)
    }
    return {"images": [score.asdict() for score in scores], "mean": means}
