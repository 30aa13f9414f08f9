"""The job that estimates the noise of a picture."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.images.noise_level import NoiseEstimate
from models.model_info import ModelInfo
from service.denoising.estimation import ColorMode, FoundNoise, PlaneSigma, estimate_sigma
from service.denoising.job import Stage, untimed
from service.denoising.photographs import ModelChoice, find_noise
from service.denoising.pipeline import DenoisingOptions, Pass
from service.imaging import codec
from service.imaging.codec import to_gray
from service.imaging.picture import DecodeLimits, Plane


@dataclass(frozen=True, slots=True)
class NoiseResult:
    """What a `NoiseJob` returns.

    Attributes:
        estimate: The estimate for a channel, on the 0-255 scale.
        sigmas: The estimate for each plane.
        cells: The noise level map (2, h, w) on the 0-255 scale, if a network estimated one.
    """

    estimate: NoiseEstimate
    sigmas: tuple[PlaneSigma, ...]
    cells: NDArray[np.float64] | None = None


class NoiseJob:
    """Estimate the noise of a picture, which is not denoised. Making the job reads the header only."""

    passes = 0

    def __init__(
        self,
        image: bytes,
        color: ColorMode,
        model: ModelInfo,
        limits: DecodeLimits,
        stage: Stage = untimed,
        photo: ModelInfo | None = None,
    ) -> None:
        """Read the header.

        Args:
            image: The image file.
            color: Whether to convert color to gray first.
            model: The model whose range of noise levels the estimate is compared with.
            limits: What to accept.
            stage: Times parts of the job.
            photo: The model whose network estimates the noise; None to estimate it from patches.

        Raises:
            ServiceError: If the file is refused by its header.
        """
        self._image = codec.open_image(image, limits)
        self.model, self._model = model, model
        self._color, self._stage = color, stage
        self.header = self._image.header
        self.held_pixels = self.header.counted_pixels
        self._choice = ModelChoice(model, photo, automatic=True) if photo else None
        self._finding: Generator[Pass, Plane, FoundNoise] | None = None
        self._result: NoiseResult | None = None
        self.network_pixels = 0
        if photo and self._choice and self._choice.estimates(self.header, self._options):
            self.model = photo
            self.network_pixels = photo.estimate_pixels(self.header.height, self.header.width)

    @property
    def _options(self) -> DenoisingOptions:
        return DenoisingOptions(None, self._color)

    def start(self) -> Pass | None:
        """Decode the picture, and return the pass that asks for a noise level map, or estimate the noise from patches."""
        picture = self._image.decode()
        with self._stage("treat"):
            picture = to_gray(picture) if self._color == "gray" else picture
            if self._choice and self._choice.estimates(picture, self._options):
                self._finding = find_noise(picture, self._choice)
                return next(self._finding)
            self._result = NoiseResult(*estimate_sigma(picture, self._color, self._model.sigma_range))
            return None

    def estimated(self, levels: Plane) -> None:
        """Take the noise level map."""
        assert self._finding is not None
        with self._stage("treat"):
            try:
                self._finding.send(levels)
            except StopIteration as end:
                found: FoundNoise = end.value
                self._result = NoiseResult(found.estimate, found.sigmas, found.cells)

    def resume(self, denoised: Plane) -> Pass:
        """Never called, because there is no pass."""
        raise AssertionError(denoised.shape)

    def finish(self, denoised: Plane | None) -> NoiseResult:
        """Return the estimates."""
        assert denoised is None
        assert self._result is not None
        return self._result
