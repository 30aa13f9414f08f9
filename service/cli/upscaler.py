"""What `n3denoise upscale` does to every file."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.images.noise import check_sigma
from models.inference.device import DType
from models.inference.photo import Photo
from models.inference.upscaler import Upscaler
from models.methods import load_method, load_upscaler, method_names
from models.model_info import ModelInfo
from service.cli.denoiser import MOST_CHANNELS, MOST_PIXELS, run_reporting
from service.cli.files import Progress, RunPass, estimate_notes, run_passes, suffix_of
from service.denoising.job import OutputOptions
from service.denoising.pipeline import Pass
from service.denoising.upscaling import UpscalingOptions
from service.denoising.upscaling_job import UpscalingJob, UpscalingResult
from service.imaging.picture import DecodeLimits, Plane
from service.settings import PHOTO_MODEL


@dataclass(frozen=True, slots=True)
class FileUpscaler:
    """Enlarges every file.

    Attributes:
        model: The model.
        run_pass: Runs a pass of the network.
        upscaling: How to enlarge.
        output: What to write.
        limits: Which files are accepted.
        photo: The model whose network estimates the noise if sigma is not given; None to estimate it from patches.
    """

    model: ModelInfo
    run_pass: RunPass
    upscaling: UpscalingOptions
    output: OutputOptions
    limits: DecodeLimits
    photo: ModelInfo | None = None

    def open(self, data: bytes) -> UpscalingJob:
        """Read the header of a file.

        Raises:
            ServiceError: If the file is refused by its header.
        """
        return UpscalingJob(data, None, self.model, self.upscaling, self.output, self.limits, photo=self.photo)

    def run(self, opened: UpscalingJob, progress: Progress = lambda _: None) -> UpscalingResult:
        """Enlarge a file that `open` accepted.

        Raises:
            ServiceError: If it cannot be decoded, enlarged or encoded.
        """
        return run_passes(opened, self.run_pass, progress)

    def suffix(self, opened: UpscalingJob, name: str) -> str:
        """Return the suffix of the result for a source of this name."""
        return suffix_of(self.output.file_format or opened.default_format, name)

    def notes(self, result: UpscalingResult) -> str:
        """Describe in a few words how a picture was enlarged."""
        upscaled = result.upscaled
        size = f"{upscaled.picture.width} x {upscaled.picture.height}"
        return ", ".join([size, f"sigma {upscaled.sigma:.1f}", *estimate_notes(upscaled.estimate), *upscaled.warnings])


def load_file_upscaler(
    weights: str | None, device: str, dtype: DType, memory_budget: int | None, upscaling: UpscalingOptions, output: OutputOptions
) -> FileUpscaler:
    """Load the model, and the one that estimates the noise if sigma is not given.

    Args:
        weights: Name or path of the weights; None for the shipped ones.
        device: Compute device.
        dtype: Precision of the convolutions.
        memory_budget: Working memory of the network in bytes; None for a share of the free memory.
        upscaling: How to enlarge.
        output: What to write.

    Raises:
        ValueError: If a model cannot be loaded, or was not made for the noise level.
    """
    upscaler = load_upscaler(weights=weights, device=device, dtype=dtype, memory_budget=memory_budget)
    photo: Photo | None = None
    if upscaling.sigma is not None:
        check_sigma(upscaling.sigma, upscaler.info.sigma_range)
    elif PHOTO_MODEL in method_names():
        method = load_method(PHOTO_MODEL, device=device, dtype=dtype, memory_budget=memory_budget)
        assert isinstance(method, Photo)
        photo = method
    limits = DecodeLimits(pixels=MOST_PIXELS, channels=MOST_CHANNELS)
    return FileUpscaler(
        upscaler.info, upscaling_runner(upscaler, photo), upscaling, output, limits, photo.info if photo else None
    )


def upscaling_runner(upscaler: Upscaler, photo: Photo | None) -> RunPass:
    """Return a function that runs a pass: it enlarges a plane, or estimates the noise of a picture if its sigma is None."""

    def steps(each: Pass) -> Generator[float, None, Tensor]:
        plane = torch.from_numpy(each.plane)
        if each.sigma is None:
            assert photo is not None  # the job knows whether there is one
            return photo.estimate_steps(plane)
        assert isinstance(each.sigma, float)
        return upscaler.steps(plane, each.sigma, each.factor)

    def run_pass(each: Pass, progress: Progress) -> Plane:
        return run_reporting(steps(each), progress)

    return run_pass
