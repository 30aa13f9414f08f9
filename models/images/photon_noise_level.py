"""Estimation of photon noise: how the variance of flat patches grows with their mean.

Patches are sorted by their mean into groups. In each group, the variance of the noise is estimated from the patches with the
least texture, as in `models.images.noise_level`. A straight line through these points gives the gain and the read noise.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.images.noise_level import LEAST_PATCHES_PER_VALUE, noise_of_patches, patches_of, roughness, side_of_patches
from models.images.photon_noise import PhotonNoise

Array = NDArray[np.float64]

_GROUPS, _LEAST_GROUPS = 8, 2
_QUANTILE = 0.25  # of the groups lie below the line, because texture that looks like noise raises some of the others
_LEAST_GROWTH = 0.01  # of the variance from the darkest to the brightest group; it keeps the gain positive
_CERTAIN_OFFSET = 0.25  # an offset that changes the variance of the darkest group by a smaller share may be an error of the fit
_ROUNDS = 30
_EXACT = 0.02  # relative deviations from the line below this one weigh the same
_FALL = 0.3  # of the mean variance from the darkest to the brightest group
_ROUGH_RATIO = 1.5  # see `models.images.noise_level`


@dataclass(frozen=True, slots=True)
class PhotonNoiseEstimate:
    """An estimate of a picture's photon noise.

    Attributes:
        noise: On the scale of the samples; None if there is no estimate.
        confidence: 1 if the noise of all groups of patches is what the estimate says, down to 0 if half of them differ by as much
            as the estimate itself, or if the picture is too small for an estimate.
        warnings: Reasons to doubt the estimate: codes from `WARNINGS` or those of `models.images.noise_level`.
    """

    noise: PhotonNoise | None
    confidence: float
    warnings: tuple[str, ...] = ()


WARNINGS = {
    "not-photon-noise": (
        "The noise does not grow with the brightness as photon noise does. Pictures whose samples are not proportional to the "
        "light, such as photographs with a tone curve, need noise=gaussian."
    ),
}


def estimate_photon_noise(
    image: NDArray[np.floating], gain: float | None = None, read_noise: float | None = None
) -> PhotonNoiseEstimate:
    """Estimate the photon noise of one plane.

    If the read noise is not given, and the variance would be zero at a level above zero, that level is the offset, and the read
    noise is 0.

    Args:
        image: (H, W), finite, with white at 1.0. Patches with white pixels are left out if enough others remain, because noise is
            clipped there.
        gain: The gain if it is known.
        read_noise: The read noise if it is known. One of both must be None.
    """
    side = side_of_patches(image.shape, _GROUPS)
    if side is None:
        return PhotonNoiseEstimate(None, 0.0, ("too-small",))
    patches, _ = patches_of(image, side, with_black=True)  # few photons leave many pixels black
    if len(patches) < _GROUPS * LEAST_PATCHES_PER_VALUE * side**2:
        return PhotonNoiseEstimate(None, 1.0, ("looks-clean",))  # nearly all patches are uniform
    groups = [patches[part] for part in np.array_split(np.argsort(patches.mean((1, 2))), _GROUPS)]
    points = [noise_of_patches(group, centered=True) for group in groups]
    flat = [point for point in points if point.found]
    if len(flat) >= _LEAST_GROUPS:
        points = flat
    sigmas, means = np.array([(point.sigma, point.mean) for point in points]).T
    if not sigmas.any():
        return PhotonNoiseEstimate(None, 1.0, ("looks-clean",))
    variances = np.square(sigmas)
    noise = _fitted(means, variances, gain, read_noise)
    expected = np.maximum(noise.sigma(means), 1e-9)
    misfit = float(np.median(np.abs(sigmas / expected - 1)))
    warnings: tuple[str, ...] = ()
    rough = roughness(patches) > _ROUGH_RATIO * noise.sigma(patches.mean((1, 2)))
    if rough.mean() > 0.99:
        warnings = ("not-white",)
    elif _line(means, variances, None, None)[0] * np.ptp(means) < -_FALL * variances.mean():
        warnings = ("not-photon-noise",)
    return PhotonNoiseEstimate(noise, max(0.0, 1.0 - misfit), warnings)


def _fitted(means: Array, variances: Array, gain: float | None, read_noise: float | None) -> PhotonNoise:
    """Return the noise whose variance comes closest to that of groups of patches; see `estimate_photon_noise`."""
    slope, intercept = _line(means, variances, gain, None if read_noise is None else read_noise**2)
    if gain is None and read_noise is None and -_CERTAIN_OFFSET * float(variances.min()) < intercept < 0:
        slope, intercept = _line(means, variances, None, 0.0)
    least = _LEAST_GROWTH * float(variances.mean()) / max(float(np.ptp(means)), 1e-9)
    if gain is None and slope < least:
        slope, intercept = least, float(np.median(variances - least * means))
    if read_noise is not None:
        return PhotonNoise(slope, read_noise)
    offset = min(max(0.0, -intercept / slope), float(means.min()))
    return PhotonNoise(slope, math.sqrt(max(intercept, 0.0)), offset)


def _line(means: Array, variances: Array, slope: float | None, intercept: float | None) -> tuple[float, float]:
    """Return slope and intercept of the line that a share of the groups lie below; what is given of it stays.

    This quantile regression minimizes the weighted sum of absolute relative deviations, by repeatedly weighted squares.
    """
    known = (slope or 0.0) * means + (intercept or 0.0)
    terms = [term for term, given in ((means, slope), (np.ones_like(means), intercept)) if given is None]
    line: Array = np.full_like(variances, variances.mean())
    weights: Array = np.ones_like(variances)
    found: list[float] = []
    for _ in range(_ROUNDS):
        scale = np.sqrt(weights) / line
        found = np.linalg.lstsq(np.stack(terms, 1) * scale[:, None], (variances - known) * scale)[0].tolist()
        fitted = known + np.stack(terms, 1) @ np.array(found)
        line = np.maximum(fitted, 0.05 * variances.mean())
        deviations = (variances - fitted) / line
        weights = np.where(deviations > 0, _QUANTILE, 1 - _QUANTILE) / np.maximum(np.abs(deviations), _EXACT)
    values = iter(found)
    return (next(values) if slope is None else slope), (next(values) if intercept is None else intercept)
