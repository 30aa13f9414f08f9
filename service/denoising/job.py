"""A job takes one picture from encoded bytes to encoded bytes, for the API and the command line.

A job has three parts, so that a server can run the first and the last on its thread pools and the passes of the network on its
compute thread. `start` decodes and returns the first pass, `resume` takes a denoised plane and returns the next pass, and
`finish` takes the last plane and encodes the result. `run` does all three in a row.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from models.model_info import ModelInfo
from service.denoising.pipeline import Pass
from service.imaging import codec
from service.imaging.metadata import Keep
from service.imaging.picture import DecodeLimits, Depth, Format, Header, Picture, Plane

Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")
Outcome = TypeVar("Outcome")
Stage = Callable[[Literal["treat", "metric"]], AbstractContextManager[None]]
"""Times a part of a job other than decoding and encoding."""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The file that a job writes.

    Attributes:
        file_format: None keeps the format of the input (PNG for a BMP file with alpha).
        depth: None keeps the depth of the input as far as the format can hold it.
        metadata: Which metadata to keep.
    """

    file_format: Format | None = None
    depth: Depth | None = None
    metadata: Keep = "no-gps"


class PictureResult(Protocol):
    """What a job returns whose result is a picture: see `DenoisingResult`."""

    @property
    def file(self) -> bytes:
        """The encoded picture."""

    @property
    def file_format(self) -> Format:
        """Its format."""

    @property
    def picture(self) -> Picture:
        """The picture before encoding."""

    @property
    def model(self) -> ModelInfo:
        """The model that computed it."""


class Job(Protocol[Result_co]):
    """Takes one picture from encoded bytes to encoded bytes.

    Attributes:
        model: The network that runs the passes.
        header: The header of the picture.
        passes: Number of passes of the network at most.
        network_pixels: Pixels of all passes of the network, for admission.
        held_pixels: Pixels of all pictures that the job holds in memory, as `Header.counted_pixels` counts them.
    """

    model: ModelInfo
    header: Header
    passes: int
    network_pixels: int
    held_pixels: int

    def start(self) -> Pass | None:
        """Decode and return the first pass of the network, or None if the picture needs none.

        The first pass may ask for an estimate of the noise (`Pass.sigma` is None); `estimated` then follows.
        """

    def estimated(self, levels: Plane) -> Pass | None:
        """Take the noise level map that the first pass asked for; return the next pass, or None if there is none."""

    def resume(self, denoised: Plane) -> Pass:
        """Take the denoised plane of a pass that is not the last and return the next pass."""

    def finish(self, denoised: Plane | None) -> Result_co:
        """Take the denoised plane of the last pass (None if there was no pass), measure, encode, and return the result."""


class PassRunner(Generic[Outcome]):
    """Drives a generator such as that of `denoise_picture`, because a future cannot carry the StopIteration with its result."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._passes: Generator[Pass, Plane, Outcome] | None = None
        self._outcome: Outcome | None = None

    def begin(self, passes: Generator[Pass, Plane, Outcome]) -> Pass | None:
        """Return the first pass, or None if there is none."""
        self._passes = passes
        return self._advance(None)

    def estimated(self, levels: Plane) -> Pass | None:
        """Send the noise level map that the first pass asked for; return the next pass, or None if there is none."""
        with self.stage("treat"):
            return self._advance(levels)

    def resume(self, denoised: Plane) -> Pass:
        """Send a denoised plane and return the next pass."""
        following = self._advance(denoised)
        assert following is not None  # the caller knows from the pass how many there are
        return following

    def end(self, denoised: Plane | None) -> Outcome:
        """Send the last denoised plane and return what the generator returns."""
        if denoised is not None:
            with self.stage("treat"):
                self._advance(denoised)
        assert self._outcome is not None
        return self._outcome

    def _advance(self, denoised: Plane | None) -> Pass | None:
        assert self._passes is not None
        try:
            return self._passes.send(denoised)  # type: ignore[arg-type]  # only the first send is None
        except StopIteration as end:
            self._outcome = end.value
            return None


def untimed(_: Literal["treat", "metric"]) -> AbstractContextManager[None]:
    """Time nothing."""
    return nullcontext()


class PictureJob(Generic[Outcome]):
    """What the jobs have in common whose result is a picture. Making the job reads the headers only.

    Attributes:
        header: The header of the image.
        output: What to write; may be changed until the job starts.
    """

    def __init__(self, image: bytes, reference: bytes | None, output: OutputOptions, limits: DecodeLimits, stage: Stage) -> None:
        """Read the headers.

        Args:
            image: The image file.
            reference: An image file to compare the result with, or None.
            output: What to write.
            limits: What to accept.
            stage: Times parts of the job.

        Raises:
            ServiceError: If a file is refused by its header.
        """
        self._image = codec.open_image(image, limits)
        self._reference_file = codec.open_image(reference, limits) if reference else None
        self._reference: Picture | None = None
        self.header = self._image.header
        self.output, self._limits = output, limits
        self._runner = PassRunner[Outcome](stage)

    @property
    def default_format(self) -> Format:
        """The format of the result unless another one is asked for."""
        return self.header.output_format

    def estimated(self, levels: Plane) -> Pass | None:
        """Take the noise level map that the first pass asked for; return the next pass, or None if there is none."""
        return self._runner.estimated(levels)

    def resume(self, denoised: Plane) -> Pass:
        """Take the result of a pass that is not the last and return the next pass."""
        return self._runner.resume(denoised)


def run(job: Job[Result], denoise: Callable[[Pass], Plane]) -> Result:
    """Run a job from start to end, and call `denoise` for each pass of the network."""
    current, denoised = job.start(), None
    if current and current.sigma is None:
        current = job.estimated(denoise(current))
    while current is not None:
        denoised = denoise(current)
        current = job.resume(denoised) if current.index + 1 < current.count else None
    return job.finish(denoised)
