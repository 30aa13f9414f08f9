"""What is done to a picture between decoding and encoding: which planes the network sees, how often, and what becomes of them.

The network itself is not called here. `treat` is a generator that hands out one plane after another and is sent each denoised,
so that the service can queue every run on its engine and the command line can call a denoiser, with the same result.
"""

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.images import color as scheme
from models.images.noise_level import WARNINGS, NoiseEstimate, estimate_noise
from service.errors import SigmaOutOfRange
from service.imaging.codec import to_gray
from service.imaging.picture import Header, Picture, Plane, Planes

Color = Literal["gray", "rgb"]
SigmaRange = tuple[float, float]

# Samples of a float file that lie outside this are taken for another scale altogether.
_NEAR = (-1.0, 2.0)
_TAIL, _TAIL_SIGMAS = 0.001, 3.09  # a thousandth of white noise is more than 3.09 sigma below its mean
_TOLERANCE = 0.02
_MOST_GAIN = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may ask for.

    Attributes:
        sigma: Standard deviation of the noise on the 0-255 scale (white is 255 at any depth); None finds it out.
        color: "gray" turns color to gray first, as the paper does; "rgb" keeps it.
        strength: How much of the denoising to keep, 0 to 1: the result is blended with the input.
        ensemble: Average the results of all eight flips and rotations.
    """

    sigma: float | None
    color: Color = "gray"
    strength: float = 1.0
    ensemble: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the network.

    Attributes:
        plane: (H, W), contiguous.
        sigma: Standard deviation of its noise on the [0, 1] scale, within the model's range.
        index: Which of the runs this is, from 0.
        count: How many there are.
    """

    plane: Plane
    sigma: float
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Treated:
    """The result.

    Attributes:
        picture: The denoised picture, neither rounded nor clipped.
        noisy: The picture that was denoised: the input, gray if gray was asked for.
        sigma: The noise that was assumed, on the 0-255 scale.
        estimate: What was found out about the noise, on the 0-255 scale, if it was to be found out.
    """

    picture: Picture
    noisy: Picture
    sigma: float
    estimate: NoiseEstimate | None = None


Steps = Generator[Run, Plane, Treated]


def runs(picture: Picture | Header, options: Options) -> int:
    """How often the network will run over a picture of this kind."""
    planes = 1 if picture.rgb and options.color == "gray" else picture.channels
    return planes * (8 if options.ensemble else 1)


def treat(picture: Picture, options: Options, sigma_range: SigmaRange) -> Steps:
    """Denoise a picture.

    The network has learned black as 0 and white as 1, and is wrong about what lies beyond. A float picture that goes beyond, by
    more than its noise explains, is mapped to [0, 1] with its sigma, and back afterwards: no value is clipped, and a sigma
    that was given still counts 1.0 as 255. Pixels whose alpha is 0 keep their color. A plane that looks clean when sigma is
    to be found out is left as it is.

    Args:
        picture: As decoded.
        options: What to do.
        sigma_range: Noise levels that the model was trained for, on the 0-255 scale.

    Yields:
        Each run of the network; send its denoised plane.

    Raises:
        SigmaOutOfRange: If sigma, as the network would have it, is outside the range.
    """
    noisy = to_gray(picture) if options.color == "gray" else picture
    scale = _whole_range(noisy.planes)
    planes = _seen_by_network(noisy, scale)
    estimate = None
    levels: list[float | None]  # None: the plane is left as it is
    if options.sigma is None:
        estimates = [estimate_noise(plane) for plane in planes]
        levels = [None if {"looks-clean", "too-small"} & {*each.warnings} else each.sigma for each in estimates]
        estimate = _joined(estimates, noisy.rgb, scale.span, sigma_range)
        sigma = estimate.sigma
    else:
        sigma = options.sigma
        least, most = sigma_range
        if sigma < least or sigma / scale.span > most:
            raise SigmaOutOfRange(f"Sigma must be from {least:g} to {most:g}.", sigma_min=least, sigma_max=most)
        levels = [sigma / scale.span / 255 * factor for factor in _noise_factors(noisy)]
    if scale == _Scale():
        scale = _content_range(noisy.planes, sigma / 255)
        planes, levels = _seen_by_network(noisy, scale), [level if level is None else level / scale.span for level in levels]
    count = sum(level is not None for level in levels) * (8 if options.ensemble else 1) if options.strength else 0
    if not count:
        return Treated(noisy, noisy, sigma, estimate)

    indices = iter(range(count))
    denoised = np.empty_like(planes)
    for plane, level, out in zip(planes, levels, denoised, strict=True):
        if level is None:
            out[:] = plane
        else:
            out[:] = yield from _denoise_plane(plane, level, options.ensemble, sigma_range, indices, count)
    denoised = scheme.merge(denoised) if noisy.rgb else denoised
    denoised = scale.undone(denoised)
    if options.strength < 1:
        denoised = noisy.planes + np.float32(options.strength) * (denoised - noisy.planes)
    if noisy.alpha is not None:
        denoised = np.where(noisy.alpha > 0, denoised, noisy.planes)
    return Treated(replace(noisy, planes=denoised), noisy, sigma, estimate)


def estimate_sigma(picture: Picture, color: Color, sigma_range: SigmaRange) -> NoiseEstimate:
    """Find out the noise of a picture, on the 0-255 scale, as `treat` does."""
    picture = to_gray(picture) if color == "gray" else picture
    scale = _whole_range(picture.planes)
    estimates = [estimate_noise(plane) for plane in _seen_by_network(picture, scale)]
    return _joined(estimates, picture.rgb, scale.span, sigma_range)


def advance(steps: Steps, denoised: Plane | None) -> Run | Treated:
    """Take one step: send what the last run gave (None at the start), and get the next run, or the result.

    It exists because no future can carry the StopIteration in which a generator returns its result.
    """
    try:
        return steps.send(denoised)  # type: ignore[arg-type]  # only the first send is None
    except StopIteration as end:
        treated: Treated = end.value
        return treated


def treat_with(steps: Steps, denoise: Callable[[Run], Plane]) -> Treated:
    """Take all steps, each run with the same function."""
    step = advance(steps, None)
    while isinstance(step, Run):
        step = advance(steps, denoise(step))
    return step


@dataclass(frozen=True, slots=True)
class _Scale:
    """Which samples the network sees as black and white: `low`, and `low` + `span`."""

    low: float = 0.0
    span: float = 1.0

    def done(self, planes: Planes) -> Planes:
        return planes if self == _Scale() else ((planes.astype(np.float64) - self.low) / self.span).astype(np.float32)

    def undone(self, planes: Planes) -> Planes:
        return planes if self == _Scale() else (planes.astype(np.float64) * self.span + self.low).astype(np.float32)


def _whole_range(planes: Planes) -> _Scale:
    """All samples, and black and white, if some are far outside; otherwise the scale as it is."""
    low, high = float(planes.min()), float(planes.max())
    if _NEAR[0] <= low and high <= _NEAR[1]:
        return _Scale()
    return _Scale(min(low, 0.0), max(high, 1.0) - min(low, 0.0))


def _content_range(planes: Planes, sigma: float) -> _Scale:
    """About what the samples span without their noise, and black and white, where noise alone does not explain it."""
    if planes.min() >= 0 and planes.max() <= 1:
        return _Scale()
    low, high = (float(value) for value in np.quantile(planes, (_TAIL, 1 - _TAIL)))
    low = low + sigma if low < -_TAIL_SIGMAS * sigma - _TOLERANCE else 0.0
    high = high - sigma if high > 1 + _TAIL_SIGMAS * sigma + _TOLERANCE else 1.0
    return _Scale(low, high - low)


def _seen_by_network(picture: Picture, scale: _Scale) -> Planes:
    return scheme.separate(scale.done(picture.planes)) if picture.rgb else scale.done(picture.planes)


def _noise_factors(picture: Picture) -> list[float]:
    return [float(factor) for factor in scheme.NOISE] if picture.rgb else [1.0] * picture.channels


def _joined(estimates: list[NoiseEstimate], rgb: bool, span: float, sigma_range: SigmaRange) -> NoiseEstimate:
    """One estimate for the samples of the picture: the root of their mean variance, and the worst that is said of any plane."""
    variances = np.array([estimate.sigma**2 for estimate in estimates])
    # Merging weights luma threefold and each difference once, which three channels share.
    variance = float(variances @ (np.array([3, 1, 1]) / 3) if rgb else variances.mean())
    codes = {code for estimate in estimates for code in estimate.warnings}
    if not all("looks-clean" in estimate.warnings for estimate in estimates):
        codes.discard("looks-clean")
    level = math.sqrt(variance) * 255
    if codes.isdisjoint({"looks-clean", "too-small"}) and not sigma_range[0] <= level <= sigma_range[1]:
        codes.add("out-of-range")
    ordered = tuple(code for code in WARNINGS if code in codes)
    return NoiseEstimate(level * span, min(estimate.confidence for estimate in estimates), ordered)


def _denoise_plane(
    plane: Plane, level: float, ensemble: bool, sigma_range: SigmaRange, indices: Iterator[int], count: int
) -> Generator[Run, Plane, Plane]:
    """Denoise one plane, averaged over its eight flips and rotations if wanted.

    A plane whose noise is outside the model's range, as that of luma may be, is stretched about the middle until it fits.
    """
    least, most = (bound / 255 for bound in sigma_range)
    fitting = min(max(level, least), most)
    gain = np.float32(min(fitting / level, _MOST_GAIN) if level else 1)
    stretched = np.float32(0.5) + (plane - np.float32(0.5)) * gain if gain != 1 else plane
    total = np.zeros(plane.shape, np.float64 if ensemble else np.float32)
    turns = [(quarter, mirrored) for mirrored in (False, True) for quarter in range(4)] if ensemble else [(0, False)]
    for quarter, mirrored in turns:
        turned = np.rot90(stretched[:, ::-1] if mirrored else stretched, quarter)
        denoised = yield Run(np.ascontiguousarray(turned), fitting, next(indices), count)
        back = np.rot90(denoised, -quarter)
        total += back[:, ::-1] if mirrored else back
    mean = (total / len(turns)).astype(np.float32)
    return np.float32(0.5) + (mean - np.float32(0.5)) / gain if gain != 1 else mean
