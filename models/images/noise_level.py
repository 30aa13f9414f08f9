"""Noise level estimation: the standard deviation of white Gaussian noise, from the patches with the least texture.

The method follows X. Liu, M. Tanaka and M. Okutomi, Single-image noise level estimation for blind denoising, IEEE Transactions on
Image Processing 22 (2013). The covariance of flat patches is that of the noise, so its smallest eigenvalue is the noise variance.
Which patches are flat depends in turn on the noise variance, so both are found by iteration. In shapes, N is the number of
patches and d is their side in pixels.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIDES = (7, 5, 3)  # patch sides in pixels; the first with enough patches is used
MOST_PATCHES = 100_000
LEAST_PATCHES_PER_VALUE = 8  # the covariance of d² values needs many times d² patches
FLAT_CONFIDENCE = 1 - 1e-6  # share of patches of pure noise that count as flat
# For independent patches, the smallest of the d² sample eigenvalues is about (1 - sqrt(d² / N))² times the variance (Marchenko
# and Pastur). The bias is smaller for these overlapping patches; the factor was fitted on 20 training images of BSDS500.
EDGE = 0.7
SELECTED_EDGE = 0.8  # patches that were selected by their means overlap less; fitted on training images with photon noise
CLEAN = 1.5 / 255  # the estimate for clean training images is at most about 1 / 255
ROUGH, ROUGH_RATIO = 3 / 255, 1.5  # in white noise, 1% of the patches vary by less than about three quarters of sigma
DEPENDENT_RATIO = 1.4  # exceeded in 2 of 180 trials with white noise on training images, and in three of four with photon noise
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class NoiseEstimate:
    """An estimate of a picture's noise.

    Attributes:
        sigma: Standard deviation on the scale of the samples.
        confidence: 1 if the estimates for the quarters of the picture agree, down to 0 if they differ by as much as the estimate
            itself, or if the picture is too small.
        warnings: Reasons to doubt the estimate: codes from `WARNINGS`.
    """

    sigma: float
    confidence: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatchNoise:
    """The noise of patches.

    Attributes:
        sigma: Standard deviation of the noise.
        mean: Mean of the patches that it comes from.
        found: Whether there were enough flat patches; otherwise sigma is too small rather than too large.
    """

    sigma: float
    mean: float
    found: bool


WARNINGS = {
    "too-small": "The picture is too small to estimate its noise.",
    "looks-clean": "The picture looks clean already.",
    "not-white": (
        "The noise is not white: it was smoothed or compressed, or it is stronger in some parts; or there is texture everywhere. "
        "The model photo suits such pictures better."
    ),
    "signal-dependent": "The noise differs between dark and bright parts, so one sigma does not fit the whole picture.",
    "out-of-range": (
        "The noise is outside the range that the model was trained for. A model for white noise sees the picture with its "
        "contrast scaled until the noise fits, as far as possible; photo and upscale use the nearest end of their range."
    ),
}


def estimate_noise(image: NDArray[np.floating]) -> NoiseEstimate:
    """Estimate the noise of one plane.

    Args:
        image: (H, W), finite, with white at 1.0. Patches with black or white pixels are left out if enough others remain, because
            noise is clipped there.
    """
    side = side_of_patches(image.shape)
    if side is None:
        return NoiseEstimate(0.0, 0.0, ("too-small",))
    patches, quarters = patches_of(image, side)
    if len(patches) < LEAST_PATCHES_PER_VALUE * side**2:
        return NoiseEstimate(0.0, 1.0, ("looks-clean",))  # nearly all patches are uniform
    sigma = _level(patches)
    parts = [_level(patches[quarters == quarter]) for quarter in range(4)]
    spread = float(np.median(np.abs(np.array(parts) - sigma))) / max(sigma, 1 / 255)
    warnings: tuple[str, ...] = ()
    flattest = float(np.quantile(roughness(patches), 0.01))
    if flattest > max(ROUGH, ROUGH_RATIO * sigma):
        warnings = ("not-white",)
    elif sigma < CLEAN:
        warnings = ("looks-clean",)
    elif _depends_on_signal(patches):
        warnings = ("signal-dependent",)
    return NoiseEstimate(sigma, max(0.0, 1.0 - spread), warnings)


def side_of_patches(shape: tuple[int, ...], groups: int = 1) -> int | None:
    """Return the largest patch side with which an image of a shape has enough patches for some groups; None if there is none."""

    def count(side: int) -> int:
        return max(shape[0] - side + 1, 0) * max(shape[1] - side + 1, 0)

    return next((side for side in SIDES if count(side) >= groups * LEAST_PATCHES_PER_VALUE * side**2), None)


def patches_of(image: NDArray[np.floating], side: int, *, with_black: bool = False) -> tuple[Array, NDArray[np.intp]]:
    """Return patches, (N, d, d), without uniform and clipped ones, and the index of the quarter of the picture of each.

    A stride, vertical first and then horizontal, bounds their number.

    Args:
        image: (H, W), with white at 1.0.
        side: d.
        with_black: Whether black pixels do not count as clipped.
    """
    windows = sliding_window_view(image, (side, side))
    thinning = windows.shape[0] * windows.shape[1] / MOST_PATCHES
    down = max(1, math.ceil(math.sqrt(thinning)))
    windows = windows[::down, :: max(1, math.ceil(thinning / down))]
    rows, columns = (np.arange(count) * 2 // count for count in windows.shape[:2])
    quarters = np.add.outer(2 * rows, columns).ravel()
    patches: Array = windows.reshape(-1, side, side).astype(np.float64)
    uniform = patches.min((1, 2)) == patches.max((1, 2))
    # Noise that was not clipped practically never gives exactly black or white.
    clipped = ((patches == 1) if with_black else (patches == 0) | (patches == 1)).any((1, 2))
    kept = ~(uniform | clipped)
    kept = kept if kept.mean() > 0.05 else ~uniform
    return patches[kept], quarters[kept]


def _level(patches: Array) -> float:
    return noise_of_patches(patches).sigma


def noise_of_patches(patches: Array, *, centered: bool = False) -> PatchNoise:
    """Estimate the standard deviation of the noise, from all patches first, then repeatedly from those that look flat.

    Whether a patch looks flat depends on the previous estimate. If almost no patch looks flat, there is texture everywhere. The
    estimate is then the smallest eigenvalue of the flattest patches, without the correction for pure noise. It is too
    small rather than too large, so denoising preserves the texture.

    Args:
        patches: (N, d, d).
        centered: Whether to leave out the means of the patches. If patches were selected by their means, these hardly vary, as if
            there were no noise in that direction.
    """
    least = 2 * patches.shape[-1] ** 2
    if len(patches) < least:
        return PatchNoise(0.0, 0.0, found=False)
    texture, edge = _texture(patches), SELECTED_EDGE if centered else EDGE
    flat, found = np.ones(len(patches), bool), True
    variance = _smallest_eigenvalue(patches, edge, centered=centered)
    for _ in range(ROUNDS):
        flat = texture < variance * _flat_texture(patches.shape[-1])
        found = np.count_nonzero(flat) >= least
        if not found:
            flat = np.isin(np.arange(len(patches)), np.argpartition(texture, least - 1)[:least])
            variance = _smallest_eigenvalue(patches[flat], 0.0, centered=centered)
            break
        before, variance = variance, _smallest_eigenvalue(patches[flat], edge, centered=centered)
        if abs(variance - before) < 1e-3 * before:
            break
    return PatchNoise(math.sqrt(variance), float(patches[flat].mean()), found)


def roughness(patches: Array) -> Array:
    """Return the standard deviation of each patch about its best-fitting plane, (N,), so that a slope counts as flat."""
    side = patches.shape[-1]
    slope = np.linspace(-1, 1, side) / math.sqrt(np.square(np.linspace(-1, 1, side)).sum() / side)
    tilts = (patches.mean(1) @ slope / side, patches.mean(2) @ slope / side)
    return np.asarray(np.sqrt(np.maximum(patches.var((1, 2)) - np.square(tilts).sum(0), 0)))


def _depends_on_signal(patches: Array) -> bool:
    """Tell whether the noise rises or falls steadily over four groups of patches, from dark to bright."""
    order = np.argsort(patches.mean((1, 2)))
    levels = [_level(patches[part]) for part in np.array_split(order, 4)]
    steps = np.diff(levels)
    steady = bool((steps > 0).all() or (steps < 0).all())
    return steady and max(levels) > DEPENDENT_RATIO * min(levels)


def _texture(patches: Array) -> Array:
    """Return the sum of squared central differences of each patch, (N,)."""
    across = (patches[:, :, 2:] - patches[:, :, :-2]) / 2
    down = (patches[:, 2:] - patches[:, :-2]) / 2
    return np.asarray(np.square(across).sum((1, 2)) + np.square(down).sum((1, 2)))


@lru_cache
def _flat_texture(side: int) -> float:
    """Return the largest texture of patches of white noise of variance 1, by the gamma distribution of the paper's Eq. 12."""
    from scipy.stats import gamma  # slow to import

    pixels = np.arange(side * side).reshape(side, side)
    rows = []
    for grid in (pixels, pixels.T):
        for before, after in zip(grid[:, :-2].ravel(), grid[:, 2:].ravel(), strict=True):
            row = np.zeros(side * side)
            row[before], row[after] = -0.5, 0.5
            rows.append(row)
    derivative = np.array(rows)
    rank, trace = np.linalg.matrix_rank(derivative), float(np.square(derivative).sum())
    return float(gamma.ppf(FLAT_CONFIDENCE, rank / 2, scale=2 * trace / rank))


def _smallest_eigenvalue(patches: Array, edge: float, *, centered: bool) -> float:
    """Return the smallest eigenvalue of the patches' covariance, corrected for the sampling bias; `edge` 0 leaves it as it is.

    If `centered`, ignore the eigenvalue of constant patches, which becomes the smallest one when the mean of each is subtracted.
    """
    values = patches.reshape(len(patches), -1)
    if centered:
        values = values - values.mean(1, keepdims=True)
    smallest = float(np.linalg.eigvalsh(np.cov(values, rowvar=False))[1 if centered else 0])
    pull = max(1 - edge * math.sqrt(values.shape[1] / len(values)), 0.2)
    return max(smallest, 0.0) / pull**2
