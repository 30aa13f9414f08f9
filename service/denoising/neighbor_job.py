"""The job that tells which patches an N3 block averages for one pixel of a picture."""

from dataclasses import dataclass, replace

import numpy as np

from models.model_info import ModelInfo
from models.neighbors.neighborhood import Neighborhood, NeighborQuery
from service.denoising.job import PassRunner, Stage, untimed
from service.denoising.photographs import ModelChoice, channel_levels, denoise_estimated
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, Pass, denoise_picture
from service.errors import InvalidParameter, UnsupportedMode
from service.imaging import codec
from service.imaging.codec import to_gray
from service.imaging.picture import DecodeLimits, Picture, Plane


@dataclass(frozen=True, slots=True)
class NeighborResult:
    """What a `NeighborJob` returns.

    Attributes:
        query: The pixel, and the N3 block.
        neighborhood: The patches that the block averages for it.
        sigma: The noise level that the network was told, on the 0-255 scale, or its mean if the level varies.
        picture: The picture, in gray.
    """

    query: NeighborQuery
    neighborhood: Neighborhood
    sigma: float
    picture: Picture


class NeighborJob:
    """Find the neighbors of one pixel. Making the job reads the header only.

    The network sees the picture as it would in a `DenoisingJob` with `color="gray"`. A picture that looks clean would be left
    unchanged there; here the network is then told the lowest noise level that it knows.
    """

    passes = 1

    def __init__(
        self,
        image: bytes,
        model: ModelInfo,
        query: NeighborQuery,
        sigma: float | None,
        limits: DecodeLimits,
        stage: Stage = untimed,
        photo: ModelInfo | None = None,
    ) -> None:
        """Read the header.

        Args:
            image: The image file.
            model: The model with the N3 block.
            query: The pixel, and the N3 block.
            sigma: Standard deviation of the noise on the 0-255 scale; None estimates it.
            limits: What to accept.
            stage: Times parts of the job.
            photo: The model whose network estimates the noise; None to estimate it from patches.

        Raises:
            InvalidParameter: If the model has no such block.
            ServiceError: If the file is refused by its header.
        """
        check_block(query.block, model)
        self._image = codec.open_image(image, limits)
        self.header = self._image.header
        if not self.header.rgb and self.header.channels > 1:
            raise UnsupportedMode("The neighbors of a pixel are found in gray or RGB pictures.")
        self.model, self._query = model, query
        self._options = DenoisingOptions(sigma)
        self._choice = ModelChoice(model, photo, automatic=False) if photo else None
        self._runner = PassRunner[DenoisedPicture](stage)
        self._picture: Picture | None = None
        self._sigma = 0.0
        height, width = self.header.height, self.header.width
        self.held_pixels = self.header.counted_pixels
        self.network_pixels = model.neighbor_pixels(height, width, query.block)
        if photo and self._choice and self._choice.estimates(self.header, self._options):
            self.network_pixels += photo.estimate_pixels(height, width)

    def start(self) -> Pass:
        """Decode the picture, and return the pass that asks for the neighbors or first for an estimate of the noise.

        Raises:
            InvalidParameter: If the pixel is outside the picture.
            ServiceError: If the file cannot be decoded, or sigma is out of range.
        """
        picture = self._picture = to_gray(self._image.decode())
        self._check_inside(picture)
        with self._runner.stage("treat"):
            if self._choice and self._choice.estimates(picture, self._options):
                first = self._runner.begin(denoise_estimated(picture, self._options, self._choice))
                assert first is not None  # it asks for the estimate
                return first
            return self._asking(self._runner.begin(denoise_picture(picture, self._options, self.model.sigma_range)))

    def estimated(self, levels: Plane) -> Pass:
        """Take the noise level map that the first pass asked for, and return the pass that asks for the neighbors."""
        return self._asking(self._runner.estimated(levels))

    def resume(self, denoised: Plane) -> Pass:
        """Never called, because there is one pass."""
        raise AssertionError(denoised.shape)

    def finish(self, denoised: Plane | None) -> NeighborResult:
        """Return the neighbors that the pass found."""
        assert denoised is not None
        assert self._picture is not None
        return NeighborResult(self._query, Neighborhood.parse(denoised), self._sigma, self._picture)

    def _asking(self, denoising: Pass | None) -> Pass:
        """Turn the pass that would denoise the picture into one that asks for the neighbors."""
        if denoising is None:
            assert self._picture is not None
            lowest = replace(self._options, sigma=self.model.sigma_range[0])
            denoising = next(denoise_picture(self._picture, lowest, self.model.sigma_range))
        level = denoising.sigma
        assert level is not None
        levels = level if isinstance(level, float) else channel_levels(level, rgb=False)
        self._sigma = float(255 * np.sqrt(np.square(levels).mean()))
        return replace(denoising, query=self._query)

    def _check_inside(self, picture: Picture) -> None:
        places = {"x": (self._query.x, picture.width), "y": (self._query.y, picture.height)}
        outside = [name for name, (place, length) in places.items() if place >= length]
        if outside:
            limits = " and ".join(f"{name} from 0 to {places[name][1] - 1}" for name in outside)
            raise InvalidParameter(f"The pixel must lie inside the picture: {limits}.", parameters=outside)


def check_block(block: int, model: ModelInfo) -> None:
    """Check that a model has an N3 block of a number.

    Raises:
        InvalidParameter: If it does not.
    """
    count = len(model.blocks)
    if not count:
        raise InvalidParameter(f"The model {model.name} has no N3 block here, so it averages no patches.", parameters=["model"])
    if block > count:
        allowed = "1" if count == 1 else f"from 1 to {count}"
        raise InvalidParameter(f"block must be {allowed} for the model {model.name}.", parameters=["block"])
