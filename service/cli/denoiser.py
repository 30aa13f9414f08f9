"""What `n3denoise denoise` does to every file: a choice of models and options, from which any process can load a denoiser."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from models.images.noise import check_sigma
from models.inference.photo import Photo
from models.methods import Method, load_method, method_names
from models.model_info import ModelInfo
from service.cli.files import Progress, RunPass, estimate_notes, run_passes, suffix_of
from service.denoising.denoising_job import DenoisingJob, DenoisingResult
from service.denoising.job import OutputOptions
from service.denoising.photon_counts import PhotonOptions
from service.denoising.pipeline import DenoisingOptions, Pass
from service.imaging import codec
from service.imaging.picture import DecodeLimits, Plane
from service.settings import AUTO, DEFAULT_MODEL, PHOTO_MODEL

# More than the service accepts, because the files are the user's own; still a guard against decompression bombs.
MOST_PIXELS = 1_000_000_000
MOST_CHANNELS = 65_535


@dataclass(frozen=True, slots=True)
class FileDenoiser:
    """Denoises every file.

    Attributes:
        model: The model.
        denoise: Runs a pass of the network.
        denoising: How to denoise.
        output: What to write.
        limits: Which files are accepted.
        gray_stays_gray: Whether a color file whose channels are all equal is denoised and written as a gray picture.
        photo: The model whose network estimates the noise if sigma is not given; None to estimate it from patches.
        automatic: Whether this model also denoises if the noise is not white.
        mask: An image file that says where to denoise, or None to denoise everywhere.
        photons: What is known about photon noise; None for other noise.
    """

    model: ModelInfo
    denoise: RunPass
    denoising: DenoisingOptions
    output: OutputOptions
    limits: DecodeLimits
    gray_stays_gray: bool = False
    photo: ModelInfo | None = None
    automatic: bool = False
    mask: bytes | None = None
    photons: PhotonOptions | None = None

    def open(self, data: bytes) -> DenoisingJob:
        """Read the header of a file, and its pixels too if they decide whether the picture is gray.

        Raises:
            ServiceError: If the file is refused by its header, or its pixels were needed and cannot be decoded.
        """
        gray = self.gray_stays_gray and is_gray(data, self.limits)
        denoising = replace(self.denoising, color="gray") if gray else self.denoising
        return DenoisingJob(
            data,
            None,
            self.model,
            denoising,
            self.output,
            self.limits,
            photo=self.photo,
            automatic=self.automatic,
            mask=self.mask,
            photons=self.photons,
        )

    def run(self, opened: DenoisingJob, progress: Progress = lambda _: None) -> DenoisingResult:
        """Denoise a file that `open` accepted.

        Raises:
            ServiceError: If it cannot be decoded, denoised or encoded.
        """
        return run_passes(opened, self.denoise, progress)

    def suffix(self, opened: DenoisingJob, name: str) -> str:
        """Return the suffix of the result for a source of this name."""
        return suffix_of(self.output.file_format or opened.default_format, name)

    def notes(self, result: DenoisingResult) -> str:
        """Describe in a few words how a picture was denoised."""
        denoised = result.denoised
        notes = [denoised.model] if denoised.model else []
        notes.append(f"sigma {denoised.sigma:.1f}")
        if photons := denoised.photon_noise:
            notes.append(f"gain {photons.gain:.3g}, read noise {photons.read_noise:.3g}, offset {photons.offset:.3g}")
        return ", ".join([*notes, *estimate_notes(denoised.estimate), *denoised.warnings])


@dataclass(frozen=True, slots=True)
class DenoiserOptions:
    """The options of `n3denoise denoise`; they can be sent to another process.

    Attributes:
        model: Name of a model, or "auto".
        weights: Name or path of weights that replace those of the default model.
        device: Compute device.
        dtype: Precision of the convolutions.
        memory_budget: Working memory of the network in bytes; None for a share of the free memory.
        denoising: How to denoise.
        output: What to write.
        gray_stays_gray: Whether a color file whose channels are all equal is denoised and written as a gray picture.
        mask: An image file that says where to denoise, or None to denoise everywhere.
        photons: What is known about photon noise; None for other noise.
    """

    model: str
    weights: str
    device: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    memory_budget: int | None
    denoising: DenoisingOptions
    output: OutputOptions
    gray_stays_gray: bool
    mask: bytes | None
    photons: PhotonOptions | None

    def load(self) -> FileDenoiser:
        """Load the models.

        Raises:
            ValueError: If they cannot be loaded, or do not fit the options.
        """
        load = partial(load_method, device=self.device, dtype=self.dtype, memory_budget=self.memory_budget)
        method = load(DEFAULT_MODEL if self.model == AUTO else self.model, weights=self.weights)
        sigma, photo = self.denoising.sigma, None
        if sigma is None and not self.photons and PHOTO_MODEL in method_names():
            photo = method if self.model == PHOTO_MODEL else load(PHOTO_MODEL)
        if sigma is not None:
            check_sigma(sigma, method.info.sigma_range)
        return FileDenoiser(
            method.info,
            pass_runner(method, photo),
            self.denoising,
            self.output,
            DecodeLimits(pixels=MOST_PIXELS, channels=MOST_CHANNELS),
            gray_stays_gray=self.gray_stays_gray,
            photo=photo.info if photo else None,
            automatic=self.model == AUTO and self.weights == "default",
            mask=self.mask,
            photons=self.photons,
        )


def is_gray(data: bytes, limits: DecodeLimits) -> bool:
    """Tell whether all channels of a color file are equal, as in many scans.

    The network must see such a picture as one plane: the noise of equal channels is not independent, so the weighted sum of the
    channels is as noisy as each of them.

    Raises:
        ServiceError: If the file is refused by its header or cannot be decoded.
    """
    image = codec.open_image(data, limits)
    return image.header.rgb and not image.decode().colored


def pass_runner(method: Method, photo: Method | None = None) -> RunPass:
    """Return a function that runs a pass of the network and reports its progress.

    Args:
        method: The method that was asked for.
        photo: The method for photographs, which passes may ask for by its name.
    """

    def run_pass(each: Pass, progress: Progress) -> Plane:
        plane, chosen = torch.from_numpy(each.plane), photo if photo and each.model else method
        if isinstance(each.sigma, float | int):
            steps = chosen.steps(plane, each.sigma)
        else:
            assert isinstance(chosen, Photo)  # the only one that knows noise level maps
            steps = chosen.estimate_steps(plane) if each.sigma is None else chosen.steps(plane, torch.from_numpy(each.sigma))
        return run_reporting(steps, progress)

    return run_pass


def run_reporting(steps: Generator[float, None, torch.Tensor], progress: Progress) -> Plane:
    """Run a computation to its end, report its progress, and return its result."""
    while True:
        try:
            progress(next(steps))
        except StopIteration as end:
            result: Plane = end.value.numpy()
            return result
