"""Pictures that count photons, as microscopes and telescopes do: their noise is made white, and then denoised as usual.

`docs/decisions/0015-photon-noise.md` compares this with other ways.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.images.noise_level import NoiseEstimate
from models.images.photon_noise import PhotonNoise
from models.images.photon_noise_level import estimate_photon_noise
from service.denoising.blending import Blend, blend
from service.denoising.estimation import OUTLIERS, WARNINGS, FoundNoise, PlaneSigma, SigmaRange
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, Pass, Passes, denoise_picture
from service.errors import InvalidParameter
from service.imaging.codec import to_gray
from service.imaging.picture import Picture, Plane

NoiseKind = Literal["gaussian", "poisson"]

_TAIL = 3.5  # the extremes of a picture are about as many standard deviations of the noise from its content
_SMOOTHING, _SMOOTH_TAIL = 1.0, 0.002
_FEW, _NARROW = 0.001, 0.1  # see the warning "outliers"
_ROWS = 64  # transformed at a time, to save memory
_EXTREMES = (1e-30, 1e30)
_MOST_READ_ELECTRONS = 1e9  # beyond, rounding hides the photon noise


@dataclass(frozen=True, slots=True)
class PhotonOptions:
    """What is known about the noise of a picture that counts photons, on the 0-255 scale.

    Attributes:
        gain: Samples per photo-electron; None estimates it.
        read_noise: Standard deviation of the noise without light; None estimates it.
    """

    gain: float | None = None
    read_noise: float | None = None


def photon_options(
    noise: NoiseKind, *, gain: float | None, read_noise: float | None, sigma: float | None
) -> PhotonOptions | None:
    """Return the options for photon noise, or None for Gaussian noise.

    Raises:
        InvalidParameter: If the options contradict each other.
    """
    if noise == "gaussian":
        if gain is not None or read_noise is not None:
            raise InvalidParameter("gain and read_noise require noise=poisson.", parameters=["gain", "read_noise", "noise"])
        return None
    if sigma is not None:
        detail = "With noise=poisson, the noise depends on the brightness: give gain and read_noise instead of sigma."
        raise InvalidParameter(detail, parameters=["sigma", "noise"])
    least, most = _EXTREMES
    if not (gain is None or least <= gain <= most) or (read_noise is not None and read_noise > most):
        detail = f"gain must be from {least:g} to {most:g}, and read_noise at most {most:g}."
        raise InvalidParameter(detail, parameters=["gain", "read_noise"])
    return PhotonOptions(gain, read_noise)


def denoise_photon_counts(picture: Picture, options: DenoisingOptions, photons: PhotonOptions, sigma_range: SigmaRange) -> Passes:
    """Denoise a picture whose noise is photon noise.

    Args:
        picture: The decoded picture.
        options: How to denoise it; its sigma is not used.
        photons: What is known about its noise.
        sigma_range: Noise levels that the model was trained for, on the 0-255 scale.

    Yields:
        Each pass of the network; send its denoised plane.

    Returns:
        The denoised picture. Its noise level is the root of the mean variance over the picture.

    Raises:
        InvalidParameter: If the picture is not gray, the gain is implausible, or there is hardly any photon noise beside the
            read noise.
    """
    noisy = to_gray(picture) if options.color == "gray" else picture
    if noisy.channels != 1:
        raise InvalidParameter("noise=poisson requires a gray picture. Use color=gray, or send each channel on its own.")
    noise, estimate = _noise_of(noisy, photons)
    if noise is None:
        assert estimate is not None
        return DenoisedPicture(noisy, noisy, 0.0, (PlaneSigma("gray", None),), estimate, estimate.warnings)
    if 255 * noise.gain > _EXTREMES[1]:
        detail = f"The estimated gain is beyond {_EXTREMES[1]:g}. Scale the samples down, check read_noise, or give gain."
        raise InvalidParameter(detail, parameters=["read_noise", "gain"])
    if noise.read_noise > _MOST_READ_ELECTRONS * noise.gain:
        detail = "There is hardly any photon noise beside so much read noise; use noise=gaussian."
        raise InvalidParameter(detail, parameters=["read_noise", "gain"])
    sigma = 255 * float(noise.sigma(noisy.planes.mean(dtype=np.float64)))
    if any(options.blend.strengths(rgb=False)):
        denoised, few = yield from _denoise_plane(noisy, noise, options, sigma_range)
        planes = blend(noisy, denoised[None], options.blend)
    else:
        planes, few = noisy.planes, False
    codes = {*noisy.conversions, *(estimate.warnings if estimate else ()), *([OUTLIERS] if few else [])}
    warnings = tuple(code for code in WARNINGS if code in codes)
    return DenoisedPicture(
        replace(noisy, planes=planes),
        noisy,
        sigma,
        (PlaneSigma("gray", sigma),),
        replace(estimate, sigma=sigma, warnings=warnings) if estimate else None,
        warnings,
        photon_noise=noise.of(255),
    )


def _noise_of(picture: Picture, photons: PhotonOptions) -> tuple[PhotonNoise | None, NoiseEstimate | None]:
    """Return the noise in the unit of the samples, and the estimate if something was not given; its sigma is not set."""
    gain, read_noise = (None if value is None else value / 255 for value in (photons.gain, photons.read_noise))
    if gain is not None and read_noise is not None:
        return PhotonNoise(gain, read_noise), None
    white = max(1.0, float(picture.planes.max()))  # in a float picture, samples of 1.0 are not saturated if others are brighter
    known = (None if value is None else value / white for value in (gain, read_noise))
    found = estimate_photon_noise(picture.planes[0] / np.float32(white), *known)
    return found.noise.of(white) if found.noise else None, NoiseEstimate(0.0, found.confidence, found.warnings)


def _denoise_plane(
    noisy: Picture, noise: PhotonNoise, options: DenoisingOptions, sigma_range: SigmaRange
) -> Generator[Pass, Plane, tuple[Plane, bool]]:
    """Denoise the plane of a picture; also tell whether a few samples lie so far outside that all others have low contrast."""
    black = float(noise.stabilize(np.array(noise.offset)))
    stabilized = _by_rows(lambda part: noise.stabilize(part) - black, noisy.planes[0])
    low, high = _content(stabilized)
    few = float(np.ptp(np.quantile(stabilized, (_FEW, 1 - _FEW)))) < _NARROW * (high - low)
    # The noise has a standard deviation of 1. It must be within the range of the model, so a picture with few photons does not
    # fill the range from black to white.
    span = max(high - low, 255 / sigma_range[1])
    low = (low + high - span) / 2
    white = replace(
        noisy, planes=_by_rows(lambda part: ((part - low) / span).clip(-1, 2), stabilized)[None], alpha=None, depth="float"
    )
    del stabilized
    found = FoundNoise(NoiseEstimate(255 / span, 1.0), (1 / span,), ())
    result = yield from denoise_picture(white, replace(options, sigma=None, blend=Blend()), sigma_range, found=found)
    return _by_rows(lambda part: noise.restore(part.astype(np.float64) * span + low + black), result.picture.planes[0]), few


def _content(stabilized: Plane) -> tuple[float, float]:
    """Estimate the range of a transformed picture without its noise, whose standard deviation is 1; 0 is a pixel without light.

    Few pixels may be brighter than all others, as stars are, so the range includes the brightest ones.
    """
    from scipy.ndimage import gaussian_filter  # slow to import

    low, high = np.quantile(gaussian_filter(stabilized, _SMOOTHING), (_SMOOTH_TAIL, 1 - _SMOOTH_TAIL))
    low = max(min(float(low), float(stabilized.min()) + _TAIL), 0.0)
    return low, max(float(high), float(stabilized.max()) - _TAIL, low)


def _by_rows(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], plane: Plane) -> Plane:
    """Apply a function to a plane, some rows at a time, in float64."""
    result = np.empty_like(plane)
    for top in range(0, len(plane), _ROWS):
        result[top : top + _ROWS] = function(plane[top : top + _ROWS].astype(np.float64))
    return result
