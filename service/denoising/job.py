"""A job: one picture's way from bytes to bytes, told once for the API and the command line.

A job has three parts, so that a server can run the first and the last on its thread pools and the passes of the network on its
compute thread. `start` decodes and returns the first pass, `resume` takes a denoised plane and returns the next pass, and
`finish` takes the last plane and encodes the result. `run` does all three in a row.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from models.images.noise import in_sigma_range, noisy_planes
from models.images.noise_level import NoiseEstimate
from service import version
from service.denoising.pipeline import (
    ColorMode,
    DenoisedPicture,
    DenoisingOptions,
    Pass,
    Passes,
    count_passes,
    denoise_picture,
    estimate_sigma,
)
from service.denoising.quality import Figures, Quality, compare, figures, matching_reference
from service.errors import SigmaOutOfRange
from service.imaging import codec, metadata
from service.imaging.metadata import Keep
from service.imaging.picture import DecodeLimits, Depth, Format, Metadata, Picture, Plane

if TYPE_CHECKING:
    from models.methods import ModelInfo

Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")
Stage = Callable[[Literal["treat", "metric"]], AbstractContextManager[None]]
"""Times a part of a job other than decoding and encoding."""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The file that a job writes.

    Attributes:
        file_format: None keeps the format of the input.
        depth: None keeps the depth of the input as far as the format can hold it.
        metadata: Which metadata to keep.
    """

    file_format: Format | None = None
    depth: Depth | None = None
    metadata: Keep = "no-gps"


@dataclass(frozen=True, slots=True)
class DenoisingResult:
    """What a `DenoisingJob` returns.

    Attributes:
        file: The encoded picture.
        file_format: Its format.
        denoised: The picture before encoding, and how it was denoised.
        quality: Its quality, if there was a reference.
    """

    file: bytes
    file_format: Format
    denoised: DenoisedPicture
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What an `EvaluationJob` returns: three pictures of one size, and their figures before rounding and clipping.

    Attributes:
        clean: The input.
        noisy: The input with noise added.
        denoised: The noisy picture after denoising.
        before: Figures of `noisy` against `clean`.
        after: Figures of `denoised` against `clean`.
    """

    clean: Picture
    noisy: Picture
    denoised: Picture
    before: Figures
    after: Figures


class Job(Protocol[Result_co]):
    """One picture's way from bytes to bytes.

    Attributes:
        model: The model that runs the passes.
        network_pixels: Pixels of all passes of the network, for admission.
        held_pixels: Pixels of all pictures that the job holds in memory.
    """

    model: "ModelInfo"
    network_pixels: int
    held_pixels: int

    def start(self) -> Pass | None:
        """Decode and return the first pass of the network, or None if the picture needs none."""

    def resume(self, denoised: Plane) -> Pass:
        """Take the denoised plane of a pass that is not the last and return the next pass."""

    def finish(self, denoised: Plane | None) -> Result_co:
        """Take the denoised plane of the last pass (None if there was no pass), measure, encode, and return the result."""


class _PassRunner:
    """Drives the generator of `denoise_picture`; no future can carry the StopIteration in which it returns its result."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._passes: Passes | None = None
        self._denoised: DenoisedPicture | None = None

    def begin(self, passes: Passes) -> Pass | None:
        """Return the first pass, or None if there is none."""
        self._passes = passes
        return self._advance(None)

    def resume(self, denoised: Plane) -> Pass:
        """Send a denoised plane and return the next pass."""
        following = self._advance(denoised)
        assert following is not None  # the caller knows from the pass how many there are
        return following

    def end(self, denoised: Plane | None) -> DenoisedPicture:
        """Send the last denoised plane and return the picture."""
        if denoised is not None:
            with self.stage("treat"):
                self._advance(denoised)
        assert self._denoised is not None
        return self._denoised

    def _advance(self, denoised: Plane | None) -> Pass | None:
        assert self._passes is not None
        try:
            return self._passes.send(denoised)  # type: ignore[arg-type]  # only the first send is None
        except StopIteration as end:
            self._denoised = end.value
            return None


def _untimed(_: Literal["treat", "metric"]) -> AbstractContextManager[None]:
    return nullcontext()


class DenoisingJob:
    """Denoise a picture, and measure the result against a reference if there is one.

    Making the job reads the headers only, so that a server can decide about it before anything is decoded.
    """

    def __init__(
        self,
        image: bytes,
        reference: bytes | None,
        model: "ModelInfo",
        denoising: DenoisingOptions,
        output: OutputOptions,
        limits: DecodeLimits,
        stage: Stage = _untimed,
    ) -> None:
        """Read the headers.

        Args:
            image: The image file.
            reference: A clean image file to compare with, or None.
            model: The model that will run the passes.
            denoising: How to denoise.
            output: What to write.
            limits: What to accept.
            stage: Times parts of the job.

        Raises:
            ServiceError: If a file is refused by its header.
        """
        self._image = codec.open_image(image, limits)
        self._reference_file = codec.open_image(reference, limits) if reference else None
        self.model = model
        self._denoising, self._output, self._limits = denoising, output, limits
        self._runner = _PassRunner(stage)
        self._reference: Picture | None = None
        self.header = self._image.header
        self.network_pixels = self.header.pixels * count_passes(self.header, denoising)
        self.held_pixels = self.header.pixels + (self._reference_file.header.pixels if self._reference_file else 0)

    def start(self) -> Pass | None:
        """Decode the image and the reference, and return the first pass of the network, or None if it needs none.

        Raises:
            ServiceError: If a file cannot be decoded, the reference does not match, the output format cannot hold the result,
                or sigma is out of range.
        """
        picture = self._image.decode()
        picture = codec.to_gray(picture) if self._denoising.color == "gray" else picture
        codec.output_form(picture, self._output.file_format, self._output.depth)  # refuse now what could not be encoded later
        if self._reference_file:
            self._reference = matching_reference(self._reference_file.decode(), picture)
        with self._runner.stage("treat"):
            return self._runner.begin(denoise_picture(picture, self._denoising, self.model.sigma_range))

    def resume(self, denoised: Plane) -> Pass:
        """Take the denoised plane of a pass that is not the last and return the next pass."""
        return self._runner.resume(denoised)

    def finish(self, denoised: Plane | None) -> DenoisingResult:
        """Take the last denoised plane, encode the picture with its metadata, and measure it."""
        result = self._runner.end(denoised)
        software = metadata.software_text(version(), self.model.name, result.sigma, self.model.weights_sha256)
        kept = metadata.prepared(result.picture.metadata, self._output.metadata, software)
        file = codec.encode(replace(result.picture, metadata=kept), self._output.file_format, self._output.depth)
        quality = None
        if self._reference:
            with self._runner.stage("metric"):
                quality = compare(result, codec.decode(file, self._limits), self._reference)
        return DenoisingResult(file, self._output.file_format or result.picture.format, result, quality)


class EvaluationJob:
    """Add noise to a clean picture, denoise it, and measure both: one row of the paper's table.

    The denoiser is told the sigma of the noise that was added. Making the job reads the header only.
    """

    def __init__(
        self,
        image: bytes,
        model: "ModelInfo",
        denoising: DenoisingOptions,
        seed: int,
        limits: DecodeLimits,
        stage: Stage = _untimed,
    ) -> None:
        """Read the header.

        Args:
            image: The clean image file.
            model: The model that will run the passes.
            denoising: How to denoise; its sigma is that of the noise to add and must be given.
            seed: Seed of the noise.
            limits: What to accept.
            stage: Times parts of the job.

        Raises:
            SigmaOutOfRange: If the model was not trained for sigma.
            ServiceError: If the file is refused by its header.
        """
        assert denoising.sigma is not None
        least, most = model.sigma_range
        if not in_sigma_range(denoising.sigma, model.sigma_range):
            raise SigmaOutOfRange(f"Sigma must be from {least:g} to {most:g}.", sigma_min=least, sigma_max=most)
        self._image = codec.open_image(image, limits)
        self.model = model
        self._denoising, self._sigma, self._seed = denoising, denoising.sigma, seed
        self._runner = _PassRunner(stage)
        self._clean: Picture | None = None
        self.header = self._image.header
        self.network_pixels = self.header.pixels * count_passes(self.header, denoising)
        self.held_pixels = 3 * self.header.pixels  # clean, noisy, denoised

    def start(self) -> Pass | None:
        """Decode the picture, add the noise, and return the first pass of the network.

        Raises:
            ServiceError: If the file cannot be decoded, or its channels do not fit into a PNG.
        """
        picture = self._image.decode()
        picture = codec.to_gray(picture) if self._denoising.color == "gray" else picture
        # The result is a picture of pictures, which has no alpha and no metadata of its own.
        self._clean = replace(picture, alpha=None, metadata=Metadata(), format="png")
        codec.output_form(self._clean, "png", "8")
        with self._runner.stage("treat"):
            noisy = replace(self._clean, planes=noisy_planes(self._clean.planes, self._sigma / 255, self._seed))
            return self._runner.begin(denoise_picture(noisy, self._denoising, self.model.sigma_range))

    def resume(self, denoised: Plane) -> Pass:
        """Take the denoised plane of a pass that is not the last and return the next pass."""
        return self._runner.resume(denoised)

    def finish(self, denoised: Plane | None) -> EvaluationResult:
        """Take the last denoised plane and measure the noisy and the denoised picture."""
        assert self._clean is not None
        result = self._runner.end(denoised)
        with self._runner.stage("metric"):
            before = figures(result.noisy.planes, self._clean.planes)
            after = figures(result.picture.planes, self._clean.planes)
        return EvaluationResult(self._clean, result.noisy, result.picture, before, after)


class NoiseJob:
    """Estimate the noise of a picture, which is not denoised. Making the job reads the header only."""

    network_pixels = 0

    def __init__(self, image: bytes, color: ColorMode, model: "ModelInfo", limits: DecodeLimits, stage: Stage = _untimed) -> None:
        """Read the header.

        Args:
            image: The image file.
            color: Whether to convert color to gray first.
            model: The model whose range of noise levels the estimate is compared with.
            limits: What to accept.
            stage: Times parts of the job.

        Raises:
            ServiceError: If the file is refused by its header.
        """
        self._image = codec.open_image(image, limits)
        self.model = model
        self._color, self._stage = color, stage
        self.held_pixels = self._image.header.pixels
        self._estimate: NoiseEstimate | None = None

    def start(self) -> None:
        """Decode the picture and estimate its noise; no pass of the network is needed."""
        picture = self._image.decode()
        with self._stage("treat"):
            self._estimate = estimate_sigma(picture, self._color, self.model.sigma_range)

    def resume(self, denoised: Plane) -> Pass:
        """Never called, because there is no pass."""
        raise AssertionError(denoised.shape)

    def finish(self, denoised: Plane | None) -> NoiseEstimate:
        """Return the estimate, on the 0-255 scale."""
        assert denoised is None
        assert self._estimate is not None
        return self._estimate


def run(job: Job[Result], denoise: Callable[[Pass], Plane]) -> Result:
    """Run a job from start to end, each pass of the network by the same function."""
    current, denoised = job.start(), None
    while current is not None:
        denoised = denoise(current)
        current = job.resume(denoised) if current.index + 1 < current.count else None
    return job.finish(denoised)
