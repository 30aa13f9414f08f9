"""What happens to a picture between decoding and encoding: which planes the network sees, how often, and what follows.

The network itself is not called here. `denoise_picture` is a generator that yields one pass of the network after another and is
sent each denoised plane. So the service can run the passes on its compute thread and the command line can call a model directly,
with the same result.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.images import color
from models.images.noise_level import NoiseEstimate
from models.images.noise_map import CELL
from models.images.photon_noise import PhotonNoise
from models.images.symmetries import views
from models.neighbors.neighborhood import NeighborQuery
from service.denoising.blending import Blend, blend
from service.denoising.estimation import (
    ColorMode,
    FoundNoise,
    Level,
    PlaneSigma,
    SigmaRange,
    check_sigma,
    estimated_planes,
    noise_by_patches,
    picture_warnings,
    plane_names,
)
from service.denoising.value_range import ValueRange, content_range, whole_range
from service.imaging.codec import to_gray
from service.imaging.picture import Header, Picture, Plane, Planes

_LARGEST_GAIN = 2.0


@dataclass(frozen=True, slots=True)
class DenoisingOptions:
    """How a picture is denoised.

    Attributes:
        sigma: Standard deviation of the noise on the 0-255 scale (white is 255 at any depth); None estimates it.
        color: "gray" converts color to gray first, as the paper does; "rgb" keeps color.
        ensemble: Whether to average the results of all eight flips and rotations.
        blend: How to blend the input and the denoised picture.
    """

    sigma: float | None
    color: ColorMode = "gray"
    ensemble: bool = False
    blend: Blend = field(default_factory=Blend)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of the network over one plane, or over the three channels of an RGB picture together.

    Attributes:
        plane: (H, W) or (3, H, W), contiguous.
        sigma: Standard deviation of its noise on the [0, 1] scale, within the model's range, or a noise level map (2, h, w) as in
            `models.images.noise_map`. None asks for an estimate of this map instead of a denoised plane.
        index: Number of this pass, counted from 0.
        count: Number of passes in all. A pass that asks for an estimate counts on its own.
        model: Name of the model that computes it; None for the one that was asked for.
        query: The pixel whose neighbors are asked for instead of a denoised plane; None to denoise.
        factor: The factor by which the model enlarges the plane, if it is the model that enlarges pictures.
    """

    plane: Plane
    sigma: Level | None
    index: int
    count: int
    model: str | None = None
    query: NeighborQuery | None = None
    factor: int = 1


@dataclass(frozen=True, slots=True)
class DenoisedPicture:
    """A picture after denoising.

    Attributes:
        picture: The denoised picture, neither rounded nor clipped.
        noisy: The picture that was denoised: the input, in gray if gray was asked for.
        sigma: The noise level of a channel on the 0-255 scale: the one that was given, or the estimate, as the root of the mean
            variance over the channels and the picture.
        sigmas: The noise level that was used for each plane.
        estimate: The estimated noise, on the 0-255 scale, if sigma was not given.
        warnings: How the picture was converted, and reasons to doubt the estimate or the result: codes from `WARNINGS`.
        model: Name of the model that denoised it; None for the one that was asked for.
        cells: The noise level map (2, h, w) on the 0-255 scale, if a network estimated one.
        photon_noise: The photon noise on the 0-255 scale, if the noise was treated as such.
    """

    picture: Picture
    noisy: Picture
    sigma: float
    sigmas: tuple[PlaneSigma, ...]
    estimate: NoiseEstimate | None = None
    warnings: tuple[str, ...] = ()
    model: str | None = None
    cells: NDArray[np.float64] | None = None
    photon_noise: PhotonNoise | None = None


Passes = Generator[Pass, Plane, DenoisedPicture]


def count_passes(picture: Picture | Header, options: DenoisingOptions, *, joint: bool = False) -> int:
    """Return how many passes of the network a picture of this kind needs at most; see `denoise_picture`."""
    planes = 1 if picture.rgb and (joint or options.color == "gray") else picture.channels
    return planes * len(views(options.ensemble))


def denoise_picture(
    picture: Picture,
    options: DenoisingOptions,
    sigma_range: SigmaRange,
    *,
    joint: bool = False,
    found: FoundNoise | None = None,
) -> Passes:
    """Denoise a picture.

    A float picture that goes beyond black and white is mapped to the network's range and back (`service.denoising.value_range`);
    a sigma that was given still counts 1.0 as 255. Pixels whose alpha is 0 keep their color. With an estimated sigma, a plane
    that looks clean is left unchanged.

    Args:
        picture: The decoded picture.
        options: How to denoise it.
        sigma_range: Noise levels that the model was trained for, on the 0-255 scale.
        joint: Whether the network denoises the channels of an RGB picture together, in one pass.
        found: The noise of the picture on the range of all its samples, if sigma is not given; None to estimate it from patches.

    Yields:
        Each pass of the network; send its denoised plane.

    Returns:
        The denoised picture.

    Raises:
        SigmaOutOfRange: If sigma, on the scale that the network sees, is outside the range.
    """
    noisy = to_gray(picture) if options.color == "gray" else picture
    joint = joint and noisy.rgb
    view = network_view(noisy, options.sigma, sigma_range, joint=joint, found=found)
    planes, levels, scale, found, sigma, warnings = view.planes, view.levels, view.scale, view.found, view.sigma, view.warnings
    model, estimate = (found.model, found.estimate) if found else (None, None)
    cells = found.cells if found else None
    if found and found.model:
        sigmas = found.sigmas
    else:
        sigmas = _used(levels, ("rgb",) if joint else plane_names(noisy), scale.span, sigma_range)
    count = sum(level is not None for level in levels) * len(views(options.ensemble))
    if not (count and any(options.blend.strengths(rgb=noisy.rgb))):
        return DenoisedPicture(noisy, noisy, sigma, sigmas, estimate, warnings, model, cells)

    indices = iter(range(count))
    denoised = np.empty_like(planes)
    for plane, level, out in zip(planes, levels, denoised, strict=True):
        if level is None:
            out[:] = plane
        else:
            out[:] = yield from _denoise_plane(plane, level, options.ensemble, sigma_range, indices, count, model)
    del view, planes, plane, out  # to save memory on large pictures
    denoised = _picture_planes(denoised, noisy, joint=joint)
    denoised = scale.from_unit(denoised)
    if found and found.share < 1:
        denoised = noisy.planes + np.float32(found.share) * (denoised - noisy.planes)
    if found and found.kept is not None and found.kept.any():
        kept = found.kept.repeat(CELL, 0).repeat(CELL, 1)[: noisy.height, : noisy.width]
        denoised[:, kept] = noisy.planes[:, kept]
    denoised = blend(noisy, denoised, options.blend)
    return DenoisedPicture(replace(noisy, planes=denoised), noisy, sigma, sigmas, estimate, warnings, model, cells)


@dataclass(frozen=True, slots=True)
class NetworkView:
    """What a network sees of a picture.

    Attributes:
        planes: What it computes one by one: planes (H, W), or all channels (3, H, W) of an RGB picture; black is 0, white is 1.
        levels: The noise level of each on this scale; None for a plane that looks clean.
        scale: The range of the samples that was mapped to this scale.
        sigma: The noise level of a channel on the 0-255 scale, given or estimated.
        warnings: How the picture was converted, and reasons to doubt the estimate: codes from `WARNINGS`.
        found: What was estimated; None if sigma was given.
    """

    planes: NDArray[np.float32]
    levels: list[Level | None]
    scale: ValueRange
    sigma: float
    warnings: tuple[str, ...]
    found: FoundNoise | None


def network_view(
    picture: Picture, sigma: float | None, sigma_range: SigmaRange, *, joint: bool = False, found: FoundNoise | None = None
) -> NetworkView:
    """Return what a network sees of a picture; see `denoise_picture` for the arguments and the errors."""
    scale = whole_range(picture.planes)
    if sigma is None:
        found = found or noise_by_patches(picture, scale, sigma_range, joint=joint)
        sigma, warnings, levels = found.estimate.sigma, found.estimate.warnings, [*found.levels]
    else:
        warnings = picture_warnings(picture, scale)
        check_sigma(sigma, sigma_range, scale.span)
        factors = [1.0] if joint else _noise_factors(picture)
        levels = [sigma / scale.span / 255 * factor if factor else None for factor in factors]
    if scale.is_unit:
        scale = content_range(picture.planes, sigma / 255)
        levels = [level if level is None else level / scale.span for level in levels]
    return NetworkView(_network_planes(picture, scale, joint=joint), levels, scale, sigma, warnings, found)


def _network_planes(picture: Picture, scale: ValueRange, *, joint: bool) -> NDArray[np.float32]:
    """Return what the network denoises one by one: the planes whose noise is estimated, or all channels at once, (1, 3, H, W)."""
    return scale.to_unit(picture.planes)[None] if joint else estimated_planes(picture, scale)


def _picture_planes(planes: NDArray[np.float32], picture: Picture, *, joint: bool) -> Planes:
    """Return the channels (C, H, W) of a picture: the inverse of `_network_planes` on the network's scale."""
    if joint:
        return np.asarray(planes[0])
    return color.merge(planes) if picture.rgb else planes


def _noise_factors(picture: Picture) -> list[float]:
    """Return the noise level of each plane that is denoised, in units of that of a channel."""
    if not picture.rgb:
        return [1.0] * picture.channels
    if not picture.colored:
        return [1.0, 0.0, 0.0]  # a gray picture: its channels have the same noise, which luma has too
    return [float(factor) for factor in color.NOISE]


def _used(levels: list[Level | None], names: tuple[str, ...], span: float, sigma_range: SigmaRange) -> tuple[PlaneSigma, ...]:
    """Return the noise level that is used for each plane, given the levels on the [0, 1] scale of the network's planes."""

    def used(level: Level) -> float:
        fitting, gain = _fitted(level, sigma_range)
        return float(fitting / gain * 255 * span)

    pairs = zip(names, levels, strict=True)
    return tuple(PlaneSigma(name, None if level is None else used(level)) for name, level in pairs)


def _denoise_plane(
    plane: Plane, level: Level, ensemble: bool, sigma_range: SigmaRange, indices: Iterator[int], count: int, model: str | None
) -> Generator[Pass, Plane, Plane]:
    """Denoise one plane, averaged over its eight flips and rotations for an ensemble.

    A plane whose noise is outside the model's range, as that of luma may be, is stretched about middle gray until it fits.
    """
    fitting, stretch = _fitted(level, sigma_range)
    gain = np.float32(stretch)
    stretched = np.float32(0.5) + (plane - np.float32(0.5)) * gain if gain != 1 else plane
    total = np.zeros(plane.shape, np.float64 if ensemble else np.float32)
    symmetries = views(ensemble)
    for symmetry in symmetries:
        # A map turns with the picture. If the sides are no multiples of a cell, it ends up at most a cell away, and it is smooth.
        turned = fitting if isinstance(fitting, float) else np.ascontiguousarray(symmetry.apply(fitting))
        denoised = yield Pass(np.ascontiguousarray(symmetry.apply(stretched)), turned, next(indices), count, model)
        total += symmetry.undo(denoised)
    mean = (total / len(symmetries)).astype(np.float32)
    return np.float32(0.5) + (mean - np.float32(0.5)) / gain if gain != 1 else mean


def _fitted(level: Level, sigma_range: SigmaRange) -> tuple[Level, float]:
    """Return the noise level within the model's range that stands for a level, and the factor by which to stretch the plane."""
    least, most = (bound / 255 for bound in sigma_range)
    if not isinstance(level, float):
        return level.clip(least, most), 1.0
    fitting = min(max(level, least), most)
    return fitting, min(fitting / level, _LARGEST_GAIN) if level else 1.0
