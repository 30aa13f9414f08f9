"""Evaluation in color: the protocol of `models.evaluation`, through the same pipeline as `n3denoise denoise --color rgb`."""

import math
import time
from pathlib import Path

from models.methods import Method
from service.cli.denoiser import MOST_PIXELS, pass_runner
from service.denoising import job
from service.denoising.evaluation_job import EvaluationJob, EvaluationResult
from service.denoising.pipeline import DenoisingOptions, Pass
from service.errors import ServiceError
from service.imaging.picture import DecodeLimits, Plane


def measure_color(method: Method, path: Path, sigma: float, seed: int, ensemble: bool) -> tuple[float, ...]:
    """Measure a method on an image in color, in a format that the service reads; see `models.evaluation.Measure`.

    Every channel gets its own noise, from one generator. PSNR is over all channels, SSIM the mean of the channels. Gray images
    stay gray and get the figures of `models.evaluation.measure_gray`.

    Raises:
        ValueError: If the file cannot be read.
    """
    data = path.read_bytes()
    try:
        plain, seconds = _evaluated(method, data, DenoisingOptions(sigma, "rgb"), seed)
        figures = (plain.before.psnr, plain.after.psnr, _ssim(plain), seconds)
        if not ensemble:
            return figures
        mean, _ = _evaluated(method, data, DenoisingOptions(sigma, "rgb", ensemble=True), seed)
        return (*figures, mean.after.psnr, _ssim(mean))
    except ServiceError as error:
        raise ValueError(f"{path}: {error.detail}") from error


def _evaluated(method: Method, data: bytes, options: DenoisingOptions, seed: int) -> tuple[EvaluationResult, float]:
    """Add noise to one image and denoise it; also return the seconds that the passes of the network took."""
    run_pass = pass_runner(method)
    seconds = 0.0

    def timed(each: Pass) -> Plane:
        nonlocal seconds
        begin = time.perf_counter()
        denoised = run_pass(each, lambda _: None)
        seconds += time.perf_counter() - begin
        return denoised

    result = job.run(EvaluationJob(data, method.info, options, seed, DecodeLimits(pixels=MOST_PIXELS)), timed)
    return result, seconds


def _ssim(result: EvaluationResult) -> float:
    return math.nan if result.after.ssim is None else result.after.ssim
