"""How a picture is enlarged: which planes the network for super-resolution sees, what is enlarged bicubically, and quality.

The network enlarges luma, where people see detail. The color differences are enlarged bicubically; but if they have noise, the
network enlarges them as well, because it removes the noise.
"""

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.images import color
from models.images.noise_level import NoiseEstimate
from models.images.resize import enlarge_planes
from models.images.symmetries import views
from service.denoising.estimation import FoundNoise, PlaneSigma, SigmaRange, plane_names
from service.denoising.photographs import ModelChoice, find_noise
from service.denoising.pipeline import NetworkView, Pass, network_view
from service.denoising.quality import Figures, Quality, figures
from service.errors import ReferenceMismatch
from service.imaging import metadata
from service.imaging.alpha import without_hidden_colors
from service.imaging.codec import to_gray
from service.imaging.picture import Header, Picture, Plane, Planes


@dataclass(frozen=True, slots=True)
class UpscalingOptions:
    """How a picture is enlarged.

    Attributes:
        factor: 2, 3 or 4.
        sigma: Standard deviation of the noise to remove, on the 0-255 scale; None estimates it.
        ensemble: Whether to average the results of all eight flips and rotations.
    """

    factor: int
    sigma: float | None = 0.0
    ensemble: bool = False


@dataclass(frozen=True, slots=True)
class UpscaledPicture:
    """A picture after it was enlarged.

    Attributes:
        picture: The enlarged picture, neither rounded nor clipped.
        source: The picture that was enlarged.
        factor: The factor by which it was enlarged.
        sigma: The noise level of a channel on the 0-255 scale: the one that was given, or the estimate.
        sigmas: The noise level that the network was told for each plane; None for a plane that was enlarged bicubically.
        estimate: The estimated noise, on the 0-255 scale, if sigma was not given.
        warnings: How the picture was converted, and reasons to doubt the estimate or the result: codes from `WARNINGS`.
    """

    picture: Picture
    source: Picture
    factor: int
    sigma: float
    sigmas: tuple[PlaneSigma, ...]
    estimate: NoiseEstimate | None
    warnings: tuple[str, ...]


Enlarging = Generator[Pass, Plane, UpscaledPicture]


def count_enlarging_passes(picture: Picture | Header, options: UpscalingOptions) -> int:
    """Return how many passes of the network a picture of this kind needs at most; see `enlarge_picture`."""
    planes = 1 if picture.rgb and options.sigma == 0 else picture.channels
    return planes * len(views(options.ensemble))


def enlarge_estimated(picture: Picture, options: UpscalingOptions, models: ModelChoice) -> Enlarging:
    """Enlarge a picture whose noise is estimated by the network for photographs; see `enlarge_picture`.

    Yields:
        A pass that asks for the noise level map, then the passes of `enlarge_picture`.
    """
    found = yield from find_noise(picture, models)
    return (yield from enlarge_picture(picture, options, models.asked.sigma_range, found))


def enlarge_picture(
    picture: Picture, options: UpscalingOptions, sigma_range: SigmaRange, found: FoundNoise | None = None
) -> Enlarging:
    """Enlarge a picture.

    A float picture that goes beyond black and white is mapped to the network's range and back, as in `denoise_picture`. An
    estimated sigma outside the network's range is replaced by the nearest end of the range.

    Args:
        picture: The decoded picture.
        options: How to enlarge it.
        sigma_range: Noise levels that the network was trained for, on the 0-255 scale.
        found: The noise of the picture on the range of all its samples, if sigma is not given; None to estimate it from patches.

    Yields:
        Each pass of the network; send its enlarged plane.

    Returns:
        The enlarged picture.

    Raises:
        SigmaOutOfRange: If sigma, on the scale that the network sees, is outside the range.
    """
    factor = options.factor
    view = network_view(without_hidden_colors(picture), options.sigma, sigma_range, found=found)
    levels = _told_levels(view, sigma_range)
    passing = [not (picture.rgb and index and level == 0) for index, level in enumerate(levels)]
    enlarged = np.empty((len(levels), factor * picture.height, factor * picture.width), np.float32)
    indices, count = itertools.count(), sum(passing) * len(views(options.ensemble))
    for plane, level, passes, out in zip(view.planes, levels, passing, enlarged, strict=True):
        if passes:
            yield from _enlarge_plane(plane, level, options, indices, count, out)
        else:
            out[:] = enlarge_planes(plane[None], factor)[0]
    told = [255 * view.scale.span * level if passes else None for level, passes in zip(levels, passing, strict=True)]
    sigmas = tuple(PlaneSigma(name, each) for name, each in zip(plane_names(picture), told, strict=True))
    estimate = view.found.estimate if view.found else None
    planes = view.scale.from_unit(color.merge(enlarged) if picture.rgb else enlarged)
    result = enlarged_bicubically(picture, factor, planes)
    return UpscaledPicture(result, picture, factor, view.sigma, sigmas, estimate, view.warnings)


def _enlarge_plane(
    plane: Plane, level: float, options: UpscalingOptions, indices: Iterator[int], count: int, out: Plane
) -> Generator[Pass, Plane, None]:
    """Enlarge one plane into `out`, averaged over its eight flips and rotations for an ensemble."""
    symmetries = views(options.ensemble)
    out[:] = 0
    for symmetry in symmetries:
        turned = np.ascontiguousarray(symmetry.apply(plane))
        out += symmetry.undo((yield Pass(turned, level, next(indices), count, factor=options.factor)))
    out /= len(symmetries)


def _told_levels(view: NetworkView, sigma_range: SigmaRange) -> list[float]:
    """Return the noise level that the network is told for each plane, on the [0, 1] scale; 0 for a plane that looks clean."""
    least, most = (bound / 255 for bound in sigma_range)
    share = view.found.share if view.found else 1.0
    levels = (0.0 if level is None else share * float(np.mean(level)) for level in view.levels)
    return [min(max(level, least), most) for level in levels]


def enlarged_bicubically(picture: Picture, factor: int, planes: Planes | None = None) -> Picture:
    """Return a picture enlarged bicubically, with metadata that state the new size.

    Args:
        picture: The picture.
        factor: The factor.
        planes: The enlarged planes (C, H, W), if they are known and only alpha remains to be enlarged.
    """
    planes = enlarge_planes(picture.planes, factor) if planes is None else planes
    alpha = None if picture.alpha is None else enlarge_planes(picture.alpha[None], factor)[0].clip(0, 1)
    resized = metadata.resized(picture.metadata, factor * picture.width, factor * picture.height)
    return replace(picture, planes=planes, alpha=alpha, metadata=resized)


def checked_reference(reference: Picture, picture: Picture, factor: int) -> Picture:
    """Return the luma of a reference for an enlarged picture.

    Args:
        reference: The reference, which has the size of the result.
        picture: The picture before it is enlarged.
        factor: The factor.

    Raises:
        ReferenceMismatch: If the size or the channels do not fit, or nothing is left of the picture without its border.
    """
    width, height = factor * picture.width, factor * picture.height
    if (reference.width, reference.height) != (width, height):
        raise ReferenceMismatch(
            f"The reference has {reference.width} x {reference.height} pixels, and the enlarged image will have "
            f"{width} x {height}; their sizes must be equal."
        )
    if min(picture.width, picture.height) < 3:
        raise ReferenceMismatch(
            f"The quality is measured without a border of {factor} pixels, so the image needs at least 3 pixels along each side."
        )
    if (1 if reference.rgb else reference.channels) != (1 if picture.rgb else picture.channels):
        raise ReferenceMismatch("The reference must be gray or color if the image is, and have its channels otherwise.")
    return _luma(reference)


def compare_enlarged(result: UpscaledPicture, returned: Picture, reference: Picture) -> Quality:
    """Measure an enlarged picture on luma, without a border as wide as the factor, as is usual for super-resolution.

    Args:
        result: The enlarged picture before encoding.
        returned: The returned file, decoded again.
        reference: What `checked_reference` returned.

    Returns:
        The quality; `noisy` has the figures of the bicubic enlargement, clipped to black and white unless it is a float picture.
    """
    picture, factor = result.picture, result.factor

    def measured(planes: Planes) -> Figures:
        inside = (slice(None), slice(factor, -factor), slice(factor, -factor))
        return figures(_luma(replace(picture, planes=planes)).planes[inside], reference.planes[inside])

    bicubic = enlarge_planes(without_hidden_colors(result.source).planes, factor)
    return Quality(
        noisy=measured(bicubic if picture.depth == "float" else bicubic.clip(0, 1)),
        denoised=measured(returned.planes[: picture.channels]),  # WebP returns gray as three equal channels
        floats=measured(picture.planes),
    )


def _luma(picture: Picture) -> Picture:
    """Return the luma of an RGB picture, not rounded, or the channels of any other picture."""
    return to_gray(replace(picture, depth="float"))
