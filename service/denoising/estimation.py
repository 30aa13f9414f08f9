"""The noise of a picture: the estimate for each plane, the level of a channel, and reasons to doubt them."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.images import color
from models.images.noise import in_sigma_range
from models.images.noise_level import WARNINGS as NOISE_WARNINGS
from models.images.noise_level import NoiseEstimate, estimate_noise
from models.images.photon_noise_level import WARNINGS as PHOTON_NOISE_WARNINGS
from service.denoising.value_range import ValueRange, is_set_by_outliers, whole_range
from service.errors import SigmaOutOfRange
from service.imaging.codec import to_gray
from service.imaging.picture import CONVERSIONS, Picture, Planes

ColorMode = Literal["gray", "rgb"]
SigmaRange = tuple[float, float]
Level = float | NDArray[np.float32]

OUTLIERS = "outliers"
_WEAK = "weak-noise"
WARNINGS = {
    **CONVERSIONS,
    **NOISE_WARNINGS,
    _WEAK: (
        "The noise is weak, and hard to tell from fine texture, so only a part of it was removed. Give sigma to remove all of it."
    ),
    **PHOTON_NOISE_WARNINGS,
    OUTLIERS: (
        "A few samples lie far outside the range of all others, so the network saw the whole picture at very low contrast. "
        "Replace these samples, which may be hot pixels, and send the picture again."
    ),
}
"""How a picture was converted, and reasons to doubt a result or an estimate: codes, and what they mean."""

_COLOR_PLANES = ("luma", "red-blue", "magenta-green")  # the planes of `color.separate`


@dataclass(frozen=True, slots=True)
class PlaneSigma:
    """The noise level that was used or estimated for one plane.

    Attributes:
        plane: "gray"; "rgb" for RGB if the network denoises its channels together, else "luma", "red-blue" and "magenta-green";
            "channel-1" and so on for unrelated channels.
        sigma: Standard deviation of its noise on the 0-255 scale; None if the plane was left unchanged.
    """

    plane: str
    sigma: float | None


@dataclass(frozen=True, slots=True)
class FoundNoise:
    """What an estimate found in a picture.

    Attributes:
        estimate: The estimate for a channel, on the 0-255 scale.
        levels: The noise level of each plane that the network sees, on its [0, 1] scale: a number, a noise level map (2, h, w) as
            in `models.images.noise_map`, or None to leave the plane unchanged.
        sigmas: The estimated noise level of each plane, on the 0-255 scale.
        model: Name of the model to denoise with; None for the one that was asked for.
        cells: The noise level map (2, h, w), if a network estimated one, on the 0-255 scale.
        share: Share of the noise that is removed.
        kept: Cells (h, w) in which the picture stays as it is; None for none.
    """

    estimate: NoiseEstimate
    levels: tuple[Level | None, ...]
    sigmas: tuple[PlaneSigma, ...]
    model: str | None = None
    cells: NDArray[np.float64] | None = None
    share: float = 1.0
    kept: NDArray[np.bool_] | None = None


def check_sigma(sigma: float, sigma_range: SigmaRange, span: float = 1.0) -> None:
    """Check that a model was trained for a noise level that was given.

    Args:
        sigma: Standard deviation of the noise on the 0-255 scale.
        sigma_range: Noise levels that the model was trained for, on this scale.
        span: The range of the samples that the network sees as 0 to 1, which divides the noise.

    Raises:
        SigmaOutOfRange: If it was not.
    """
    least, most = sigma_range
    if not (sigma >= least and sigma / span <= most):
        raise SigmaOutOfRange(f"Sigma must be from {least:g} to {most:g}.", sigma_min=least, sigma_max=most)


def noise_by_patches(picture: Picture, scale: ValueRange, sigma_range: SigmaRange, *, joint: bool) -> FoundNoise:
    """Estimate the noise of a picture from its flattest patches, plane by plane; see `models.images.noise_level`.

    Args:
        picture: The picture.
        scale: The range of its samples.
        sigma_range: Noise levels that the model was trained for, on the 0-255 scale.
        joint: Whether the network denoises the channels of an RGB picture together.
    """
    estimates = [estimate_noise(plane) for plane in estimated_planes(picture, scale)]
    estimate = joined_estimate(estimates, picture_warnings(picture, scale), picture.rgb, scale.span, sigma_range)
    levels = [None if {"looks-clean", "too-small"} & {*each.warnings} else each.sigma for each in estimates]
    if joint:
        levels = [None if all(level is None for level in levels) else estimate.sigma / scale.span / 255]
    sigmas = (each.sigma * 255 * scale.span for each in estimates)
    return FoundNoise(estimate, (*levels,), (*itertools.starmap(PlaneSigma, zip(plane_names(picture), sigmas, strict=True)),))


def estimate_sigma(
    picture: Picture, color_mode: ColorMode, sigma_range: SigmaRange
) -> tuple[NoiseEstimate, tuple[PlaneSigma, ...]]:
    """Estimate the noise of a picture as `denoise_picture` does.

    Returns:
        The estimate for a channel and the noise level of each plane, both on the 0-255 scale.
    """
    picture = to_gray(picture) if color_mode == "gray" else picture
    found = noise_by_patches(picture, whole_range(picture.planes), sigma_range, joint=False)
    return found.estimate, found.sigmas


def picture_warnings(picture: Picture, scale: ValueRange) -> tuple[str, ...]:
    """Return the warnings about the picture itself."""
    return (*picture.conversions, OUTLIERS) if is_set_by_outliers(scale, picture.planes) else picture.conversions


def estimated_planes(picture: Picture, scale: ValueRange) -> Planes:
    """Return the planes whose noise is estimated one by one: luma and two color differences for RGB, else the channels."""
    planes = scale.to_unit(picture.planes)
    return color.separate(planes) if picture.rgb else planes


def plane_names(picture: Picture) -> tuple[str, ...]:
    """Return the names of the planes of `estimated_planes`."""
    if picture.rgb:
        return _COLOR_PLANES
    return ("gray",) if picture.channels == 1 else tuple(f"channel-{index + 1}" for index in range(picture.channels))


def joined_estimate(
    estimates: list[NoiseEstimate], warnings: tuple[str, ...], rgb: bool, span: float, sigma_range: SigmaRange
) -> NoiseEstimate:
    """Combine the estimates of the planes: the root of their mean variance, and the warnings about the picture and any plane."""
    variances = np.array([estimate.sigma**2 for estimate in estimates])
    # Merging weights luma threefold and each difference once, and three channels share them.
    variance = float(variances @ (np.array([3, 1, 1]) / 3) if rgb else variances.mean())
    codes = {code for estimate in estimates for code in estimate.warnings}
    if not all("looks-clean" in estimate.warnings for estimate in estimates):
        codes.discard("looks-clean")
    level = math.sqrt(variance) * 255
    if codes.isdisjoint({"looks-clean", "too-small"}) and not in_sigma_range(level, sigma_range):
        codes.add("out-of-range")
    ordered = tuple(code for code in WARNINGS if code in {*codes, *warnings})
    return NoiseEstimate(level * span, min(estimate.confidence for estimate in estimates), ordered)
