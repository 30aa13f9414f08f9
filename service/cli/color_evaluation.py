"""Evaluation in color: the protocol of `models.evaluation`, through the same pipeline as `n3denoise denoise --color rgb`."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from models.evaluation import Score
from models.images.files import image_files
from models.images.noise import check_sigma
from models.methods import Method
from service.cli.denoiser import MOST_PIXELS, pass_runner
from service.denoising import job
from service.denoising.evaluation_job import EvaluationJob
from service.denoising.pipeline import DenoisingOptions, Pass
from service.errors import ServiceError
from service.imaging.picture import DecodeLimits, Plane


def evaluate_color_folder(
    method: Method, folder: Path, sigmas: Sequence[float], seeds: int = 1, ensemble: bool = False
) -> Iterator[Score]:
    """Denoise every image of a folder in color, at every noise level and with the noise of every seed.

    Every channel gets its own noise, from one generator. PSNR is over all channels, SSIM the mean of the channels. Gray images
    stay gray and get the scores of `models.evaluation.evaluate_folder`.

    Args:
        method: The method to evaluate.
        folder: The images, in a format that the service reads.
        sigmas: Noise levels on the 0-255 scale.
        seeds: Number of draws of the noise.
        ensemble: Whether to measure also the mean over all eight flips and rotations, at eight times the cost.

    Yields:
        The scores, ordered by image name, then by noise level, then by seed.

    Raises:
        ValueError: If the folder has no image, a file cannot be read, or the method was not made for a noise level.
    """
    for sigma in sigmas:
        check_sigma(sigma, method.info.sigma_range)
    for index, path in enumerate(image_files(folder)):
        data = path.read_bytes()
        for sigma in sigmas:
            for seed in range(seeds):
                try:
                    plain, *averaged = [
                        _score(method, path.name, data, DenoisingOptions(sigma, "rgb", ensemble=views), seed, index)
                        for views in ((False, True) if ensemble else (False,))
                    ]
                except ServiceError as error:
                    raise ValueError(f"{path}: {error.detail}") from error
                yield replace(plain, psnr_ensemble=averaged[0].psnr, ssim_ensemble=averaged[0].ssim) if averaged else plain


def _score(method: Method, name: str, data: bytes, options: DenoisingOptions, seed: int, index: int) -> Score:
    """Add noise to one image, denoise it once, and measure it."""
    run_pass = pass_runner(method)
    seconds = 0.0

    def timed(each: Pass) -> Plane:
        nonlocal seconds
        begin = time.perf_counter()
        denoised = run_pass(each, lambda _: None)
        seconds += time.perf_counter() - begin
        return denoised

    result = job.run(EvaluationJob(data, method.info, options, seed + index, DecodeLimits(pixels=MOST_PIXELS)), timed)
    assert options.sigma is not None
    similarity = math.nan if result.after.ssim is None else result.after.ssim
    return Score(name, options.sigma, seed, result.before.psnr, result.after.psnr, similarity, seconds)
