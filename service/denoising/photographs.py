"""The noise of photographs: the estimate of the network for it, and the choice of a model that suits it."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.images.noise import in_sigma_range
from models.images.noise_level import NoiseEstimate
from models.images.noise_map import CELL
from models.model_info import ModelInfo
from service.denoising.estimation import (
    WARNINGS,
    FoundNoise,
    Level,
    PlaneSigma,
    noise_by_patches,
    picture_warnings,
)
from service.denoising.pipeline import DenoisingOptions, Pass, Passes, denoise_picture
from service.denoising.value_range import ValueRange, whole_range
from service.imaging.codec import to_gray
from service.imaging.picture import Header, Picture, Plane, Planes

LEAST_SIDE = 32
"""Smaller pictures do not show enough noise for a map."""

# On the 0-255 scale, for gray and for RGB pictures: weaker noise is hard to see, and hard to tell from texture, so the picture
# counts as clean. Up to the second level, the share of the noise that is removed rises to all of it. Gray pictures are often
# scans of old photographs, whose grain belongs to them.
_CLEAN = {False: 2.5, True: 1.2}
_CERTAIN = {False: 5.0, True: 3.0}
# A camera makes noise everywhere. If a tenth of the cells that could show it has less than this, on the 0-255 scale, what the
# network found in the others is texture.
_CLEAN_SHARE, _CLEAN_CELL = 0.1, 0.5
_CLIPPED = 0.03  # closer than this to black or white, noise is cut off
_LEAST_CELLS = 8  # with fewer cells that can show noise, all are counted
_WHITE = (0.8, 1.3)  # for white noise, the estimates of the network and from patches have a ratio within this range
_VARIES = 2.0  # in a map of white noise, nine tenths of the cells differ by less than this factor from the rest
_LEAST_WHITE = 2.2  # white noise that is weaker is left to the network


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models for a picture whose noise is estimated.

    Attributes:
        asked: The model for white noise, or the one for photographs if that was asked for.
        photo: The model for photographs, whose network estimates the noise.
        automatic: Whether the model for photographs is taken if the noise is not white.
    """

    asked: ModelInfo
    photo: ModelInfo
    automatic: bool

    @property
    def asks_photo(self) -> bool:
        """Whether the model for photographs was asked for."""
        return self.asked.name == self.photo.name

    def estimates(self, picture: Picture | Header, options: DenoisingOptions) -> bool:
        """Tell whether the network estimates the noise of a picture: sigma is not given, and it is gray or RGB, and not tiny."""
        suits = picture.rgb or picture.channels == 1
        return options.sigma is None and suits and min(picture.width, picture.height) >= LEAST_SIDE


def denoise_estimated(picture: Picture, options: DenoisingOptions, models: ModelChoice) -> Passes:
    """Denoise a picture whose noise is estimated by the network; see `denoise_picture`.

    Yields:
        A pass that asks for the noise level map, then the passes of `denoise_picture`.
    """
    noisy = to_gray(picture) if options.color == "gray" else picture
    found = yield from find_noise(noisy, models)
    used = models.photo if found.model else models.asked
    joint = used.serving(rgb=noisy.rgb).channels == 3
    return (yield from denoise_picture(noisy, options, used.sigma_range, joint=joint, found=found))


def find_noise(noisy: Picture, models: ModelChoice) -> Generator[Pass, Plane, FoundNoise]:
    """Estimate the noise of a picture with the network, and from patches if the noise is white, where that is more exact.

    Yields:
        A pass that asks for the noise level map.

    Returns:
        What was found; its model is the one for photographs if that shall denoise the picture.
    """
    scale = whole_range(noisy.planes)
    planes = scale.to_unit(noisy.planes)
    visible = _shows_noise(planes)
    rows, columns = _without_frame(visible)
    content = planes[:, CELL * rows.start : CELL * rows.stop, CELL * columns.start : CELL * columns.stop]
    levels = yield Pass(np.ascontiguousarray(content if noisy.rgb else content[0]), None, 0, 1, models.photo.name)
    del planes, content
    ends = [(part.start, size - part.stop) for part, size in zip((rows, columns), visible.shape, strict=True)]
    levels = np.pad(levels, ((0, 0), *ends), mode="edge")
    if not noisy.rgb:
        levels = np.stack((levels[0], np.zeros_like(levels[0])))  # equal channels have no noise in their differences
    if not models.asks_photo:
        joint = models.asked.serving(rgb=noisy.rgb).channels == 3
        patches = noise_by_patches(noisy, scale, models.asked.sigma_range, joint=joint)
        uneven = {"not-white", "signal-dependent"} & {*patches.estimate.warnings}
        if not uneven and _is_white(255 * channel_levels(levels, rgb=noisy.rgb), patches.estimate.sigma / scale.span):
            return patches
    return noise_by_network(noisy, levels, scale, models, visible)


def noise_by_network(
    noisy: Picture, levels: Plane, scale: ValueRange, models: ModelChoice, visible: NDArray[np.bool_]
) -> FoundNoise:
    """Return the noise of a picture according to its noise level map.

    Args:
        noisy: The picture, gray or RGB.
        levels: The map (2, h, w), see `models.images.noise_map`.
        scale: The range of the samples of the picture.
        models: The models. If the one for photographs is not taken, the planes get the mean levels of the map.
        visible: Which cells can show noise, (h, w).
    """
    luma, difference = (float(level) for level in np.sqrt(np.square(levels, dtype=np.float64).mean((1, 2))))
    of_cells = 255 * channel_levels(levels, rgb=noisy.rgb)
    sigma = float(np.sqrt(np.square(of_cells).mean()))
    least, most = _CLEAN[noisy.rgb], _CERTAIN[noisy.rgb]
    quietest = float(np.quantile(of_cells[visible] if visible.sum() >= _LEAST_CELLS else of_cells, _CLEAN_SHARE))
    clean = sigma < least or quietest < _CLEAN_CELL
    photo = not clean and (models.automatic or models.asks_photo)
    codes = {*picture_warnings(noisy, scale)}
    if clean:
        codes.add("looks-clean")
    elif sigma < most:
        codes.add("weak-noise")
    elif not in_sigma_range(sigma, models.asked.sigma_range):
        codes.add("out-of-range")
    if not (clean or photo):
        codes.add("not-white")
    ordered = tuple(code for code in WARNINGS if code in codes)
    share = 0.0 if clean else min((sigma - least) / (most - least), 1.0)
    estimate = NoiseEstimate(sigma * scale.span, _confidence(sigma, least if clean else None), ordered)
    names, each = (("luma", "red-blue", "magenta-green"), (luma, difference, difference)) if noisy.rgb else (("gray",), (luma,))
    sigmas = tuple(PlaneSigma(name, 255 * level * scale.span) for name, level in zip(names, each, strict=True))
    joint = models.asked.serving(rgb=noisy.rgb).channels == 3
    planes: tuple[Level | None, ...] = (levels,) if photo else (sigma / 255,) if joint else each
    planes = (None,) * len(planes) if clean else planes
    cells = levels.astype(np.float64) * (255 * scale.span)
    return FoundNoise(estimate, planes, sigmas, models.photo.name if photo else None, cells, share)


def channel_levels(levels: NDArray[np.floating], *, rgb: bool) -> NDArray[np.float64]:
    """Return the noise level of a channel in each cell, (h, w), on the scale of the map (2, h, w)."""
    luma, difference = np.square(levels.astype(np.float64))
    return np.asarray(np.sqrt((3 * luma + 2 * difference) / 3 if rgb else luma))


def _is_white(levels: NDArray[np.float64], sigma: float) -> bool:
    """Tell whether noise is white: the estimate from patches agrees with that of the network, which hardly varies.

    Args:
        levels: The noise level of a channel in each cell, estimated by the network, (h, w).
        sigma: The noise level of a channel, estimated from patches. Both are on the 0-255 scale.
    """
    low, middle, high = np.quantile(levels, (0.1, 0.5, 0.9))
    least, most = _WHITE
    return bool(sigma >= _LEAST_WHITE and least <= middle / sigma <= most and high < _VARIES * low)


def _shows_noise(planes: Planes) -> NDArray[np.bool_]:
    """Tell which cells of a picture (C, H, W) can show noise, (h, w): they are not of one color, and neither black nor white."""
    rows, columns = (np.arange(0, size, CELL) for size in planes.shape[1:])
    low = np.minimum.reduceat(np.minimum.reduceat(planes, rows, axis=1), columns, axis=2)
    high = np.maximum.reduceat(np.maximum.reduceat(planes, rows, axis=1), columns, axis=2)
    return np.asarray(((low < high) & (high > _CLIPPED) & (low < 1 - _CLIPPED)).any(0))


def _without_frame(visible: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns of cells that a frame leaves, given which cells can show noise, (h, w).

    The network could take a frame, which has no noise, as a sign that the picture inside has none. If hardly any rows or columns
    would be left, all of them are returned.
    """
    rows, columns = (_extent(np.asarray(visible.any(axis))) for axis in (1, 0))
    return rows, columns


def _extent(visible: NDArray[np.bool_]) -> slice:
    found = np.flatnonzero(visible)
    enough = len(found) > 0 and (found[-1] + 1 - found[0]) * CELL >= LEAST_SIDE
    return slice(int(found[0]), int(found[-1]) + 1) if enough else slice(0, len(visible))


def _confidence(sigma: float, clean: float | None) -> float:
    """Return the confidence in an estimate of this level, or that a picture is clean, as most below `clean` are.

    For an estimate, it is 1 minus the usual relative error, as measured on simulated photographs. For a clean picture, it falls
    from 1 to a half as the level rises.
    """
    return max(1 - sigma / (2 * clean), 0.5) if clean else 1 - 1 / (1 + 0.5 * sigma)
