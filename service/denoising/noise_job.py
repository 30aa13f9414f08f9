"""The job that estimates the noise of a picture."""

from dataclasses import dataclass

from models.images.noise_level import NoiseEstimate
from models.model_info import ModelInfo
from service.denoising.estimation import ColorMode, PlaneSigma, estimate_sigma
from service.denoising.job import Stage, untimed
from service.denoising.pipeline import Pass
from service.imaging import codec
from service.imaging.picture import DecodeLimits, Plane


@dataclass(frozen=True, slots=True)
class NoiseResult:
    """What a `NoiseJob` returns.

    Attributes:
        estimate: The estimate for a channel, on the 0-255 scale.
        sigmas: The estimate for each plane.
    """

    estimate: NoiseEstimate
    sigmas: tuple[PlaneSigma, ...]


class NoiseJob:
    """Estimate the noise of a picture, which is not denoised. Making the job reads the header only."""

    passes = 0
    network_pixels = 0

    def __init__(self, image: bytes, color: ColorMode, model: ModelInfo, limits: DecodeLimits, stage: Stage = untimed) -> None:
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
        self.header = self._image.header
        self.held_pixels = self.header.counted_pixels
        self._result: NoiseResult | None = None

    def start(self) -> None:
        """Decode the picture and estimate its noise; no pass of the network is needed."""
        picture = self._image.decode()
        with self._stage("treat"):
            self._result = NoiseResult(*estimate_sigma(picture, self._color, self.model.sigma_range))

    def resume(self, denoised: Plane) -> Pass:
        """Never called, because there is no pass."""
        raise AssertionError(denoised.shape)

    def finish(self, denoised: Plane | None) -> NoiseResult:
        """Return the estimates."""
        assert denoised is None
        assert self._result is not None
        return self._result
