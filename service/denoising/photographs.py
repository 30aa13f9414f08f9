"""The noise of photographs: the estimate of the network for it, and the choice of a model that suits it."""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.images.noise import in_sigma_range
from models.images.noise_level import NoiseEstimate
from models.images.noise_map import CELL
from models.model_info import ModelInfo
from service.denoising.cells import LEAST_SIDE, PictureCells, picture_cells
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
from service.imaging.alpha import without_hidden_colors
from service.imaging.codec import to_gray
from service.imaging.picture import Header, Picture, Plane

# On the 0-255 scale, for gray and for RGB pictures: weaker noise is hard to see, and hard to tell from texture, so the picture
# counts as clean. Up to the second level, the share of the noise that is removed rises to all of it. Gray pictures are often
# scans of old photographs, whose grain belongs to them.
_CLEAN = {False: 2.5, True: 1.2}
_CERTAIN = {False: 5.0, True: 3.0}
# A camera makes noise everywhere. If a tenth of the cells that could show it has less than this, on the 0-255 scale, what the
# network found in the others is texture.
_CLEAN_SHARE, _CLEAN_CELL = 0.1, 0.5
_LEAST_CELLS = 8  # with fewer cells that can show noise, all are counted
_WHITE = (0.8, 1.3)  # for white noise, the estimates of the network and from patches have a ratio within this range
_VARIES = 2.0  # in a map of white noise, the 90th percentile is less than this many times the 10th
_COLORED = (1.2, 2.5)  # in a map of white noise, the color differences have about the root of three times the level of luma
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
    noisy = without_hidden_colors(noisy)
    scale = whole_range(noisy.planes)
    planes = scale.to_unit(noisy.planes)
    cells = picture_cells(planes, noisy.alpha)
    rows, columns = cells.rows, cells.columns
    content = planes[:, CELL * rows.start : CELL * rows.stop, CELL * columns.start : CELL * columns.stop]
    levels = yield Pass(np.ascontiguousarray(content if noisy.rgb else content[0]), None, 0, 1, models.photo.name)
    del planes, content
    ends = [(part.start, size - part.stop) for part, size in zip((rows, columns), cells.visible.shape, strict=True)]
    levels = np.pad(levels, ((0, 0), *ends), mode="edge")
    if not noisy.rgb:
        levels = np.stack((levels[0], np.zeros_like(levels[0])))  # equal channels have no noise in their differences
    if not models.asks_photo:
        joint = models.asked.serving(rgb=noisy.rgb).channels == 3
        patches = noise_by_patches(noisy, scale, models.asked.sigma_range, joint=joint)
        uneven = {"not-white", "signal-dependent"} & {*patches.estimate.warnings}
        if not uneven and _is_white(255 * levels[:, cells.shown], patches.estimate.sigma / scale.span, colored=noisy.colored):
            return replace(patches, cells=levels * np.float64(255 * scale.span), kept=cells.kept)
    return noise_by_network(noisy, levels, scale, models, cells)


def noise_by_network(noisy: Picture, levels: Plane, scale: ValueRange, models: ModelChoice, cells: PictureCells) -> FoundNoise:
    """Return the noise of a picture according to its noise level map.

    Args:
        noisy: The picture, gray or RGB.
        levels: The map (2, h, w), see `models.images.noise_map`.
        scale: The range of the samples of the picture.
        models: The models. If the one for photographs is not taken, the planes get the mean levels of the map.
        cells: What the cells of the picture show.
    """
    luma, difference = (float(np.sqrt(np.square(level[cells.shown], dtype=np.float64).mean())) for level in levels)
    of_cells = 255 * channel_levels(levels, rgb=noisy.rgb)
    sigma = float(np.sqrt(np.square(of_cells[cells.shown]).mean()))
    colored = noisy.colored
    least, most = _CLEAN[colored], _CERTAIN[colored]
    visible = of_cells[cells.rows, cells.columns][cells.visible[cells.rows, cells.columns]]
    quietest = float(np.quantile(visible if len(visible) >= _LEAST_CELLS else of_cells, _CLEAN_SHARE))
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
    model = models.photo.name if photo else None
    return FoundNoise(estimate, planes, sigmas, model, levels * np.float64(255 * scale.span), share, cells.kept)


def channel_levels(levels: NDArray[np.floating], *, rgb: bool) -> NDArray[np.float64]:
    """Return the noise level of a channel in each cell, on the scale of the map: (...) for a map (2, ...)."""
    luma, difference = np.square(levels.astype(np.float64))
    return np.asarray(np.sqrt((3 * luma + 2 * difference) / 3 if rgb else luma))


def _is_white(levels: NDArray[np.floating], sigma: float, *, colored: bool) -> bool:
    """Tell whether noise is white: its map hardly varies, agrees with the estimate from patches, and has as much color as luma.

    Args:
        levels: The levels of the map in the cells that alpha does not hide, (2, n).
        sigma: The noise level of a channel, estimated from patches. Both are on the 0-255 scale.
        colored: Whether the picture has channels that differ, which should have independent noise.
    """
    luma, difference = np.median(levels, axis=1)
    low, middle, high = np.quantile(channel_levels(levels, rgb=colored), (0.1, 0.5, 0.9))
    (least, most), (dull, vivid) = _WHITE, _COLORED
    white = sigma >= _LEAST_WHITE and least <= middle / sigma <= most and high < _VARIES * low
    return bool(white and (not colored or dull <= difference / luma <= vivid))


def _confidence(sigma: float, clean: float | None) -> float:
    """Return the confidence in an estimate of this level, or that a picture is clean, as most below `clean` are.

    For an estimate, it is 1 minus the usual relative error, as measured on simulated photographs. For a clean picture, it falls
    from 1 to a half as the level rises.
    """
    return max(1 - sigma / (2 * clean), 0.5) if clean else 1 - 1 / (1 + 0.5 * sigma)
