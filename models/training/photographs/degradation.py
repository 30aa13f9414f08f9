"""Noisy pictures with their clean counterparts: photographs of a simulated camera, white noise, and pictures without noise.

A clean image is taken as the picture that a camera made of a scene. `degrade` works back to the light of the scene, takes the
picture again with noise, and also without noise, so that the difference of the two is what the noise has become.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.images.color import GRAY_WEIGHTS
from models.training.photographs import tone
from models.training.photographs.drawing import draw
from models.training.photographs.processing import BLOCK, Compression, downscale, sharpen, smooth
from models.training.photographs.sensor import ColorResponse, Demosaicking, SensorNoise, demosaic, mosaic

Planes = NDArray[np.float32]
Origin = Literal["camera", "white", "rounded", "varying", "clean"]
"""Where noise comes from: a camera; white noise, unclipped; white noise, rounded and perhaps compressed; white noise whose level
varies over the picture; or nowhere."""

SHARES: Mapping[Origin, float] = {"camera": 0.56, "white": 0.12, "rounded": 0.16, "varying": 0.06, "clean": 0.1}
"""How often training draws each origin."""
MARGIN = 8
"""Pixels around a crop that `degrade` needs, so that no filter sees the edge of the picture and blocks may begin anywhere."""
LARGEST_REDUCTION = 1.5
"""The crop that `degrade` takes is this many times as large as its result, because some pictures are scaled down."""

_GRAY_SHARE = 0.12  # of the pictures are gray
_SCALED_SHARE = 0.4  # are scaled down, before the noise or after it
_ROUNDED_SHARE = 0.25  # are rounded to 8 bits and not compressed
_DEMOSAICKING: tuple[Demosaicking | None, ...] = ("bilinear", "gradient", "gradient", None)
_WEAKER = (0.1, 1.0)  # rounded and varying noise is weaker than white noise by a factor in this range, as in most pictures
_WIDEST_FRAME = 0.35  # of the side of the picture
_CLEAN_DRAWINGS = 0.5  # of the drawings have no noise; a camera or a scanner made the others
_COLOR_SMOOTHING = (0.7, 5.0)  # pixels; lowest and highest standard deviation of the Gaussian that blurs color strongly
_RESTORED = 2.0  # times the error of the compression: from this much noise on, the target is the picture before compression


@dataclass(frozen=True)
class Variety:
    """What else happens to pictures, as probabilities.

    Attributes:
        drawn: A drawing takes the place of the image.
        framed: The picture gets a frame of one color, or bars at some of its sides.
        color_smoothed: The camera blurs the color differences strongly, as cameras do against color noise. What is left of their
            noise is coarse.
    """

    drawn: float = 0.0
    framed: float = 0.0
    color_smoothed: float = 0.0


TRAINING = Variety(drawn=0.08, framed=0.08, color_smoothed=0.3)
"""The variety of the pictures that networks are trained on."""


@dataclass(frozen=True)
class Degraded:
    """A noisy picture and what it is made of, (3, H, W) each, with white at 1.

    Attributes:
        noisy: The noisy picture.
        clean: What a denoiser should make of it. It is the picture before compression, but a picture without noise is its own
            target, so that a denoiser does not learn to change it.
        noise: What the noise has become: the noisy picture minus the same picture taken without noise.
    """

    noisy: Planes
    clean: Planes
    noise: Planes


def source_side(side: int) -> int:
    """Return the side of the clean crop from which `degrade` makes pictures of a side in pixels."""
    return math.ceil((side + 2 * MARGIN) * LARGEST_REDUCTION)


def degrade(
    source: Planes,
    side: int,
    rng: np.random.Generator,
    sigma: float,
    origin: Origin | None = None,
    variety: Variety = Variety(),
) -> Degraded:
    """Make a noisy picture.

    Args:
        source: A clean image, (3, S, S), with S >= `source_side(side)`.
        side: Side of the picture to make.
        rng: The source of randomness.
        sigma: Standard deviation of white noise on the [0, 1] scale, if that is what is drawn. Noise of the origins "rounded" and
            "varying" is weaker by a random factor.
        origin: Where the noise comes from; None draws it with `SHARES`.
        variety: What else happens to the picture; nothing by default.
    """
    if variety.drawn and rng.random() < variety.drawn:
        source = draw(source.shape[1], rng)
        origin = "clean" if origin is None and rng.random() < _CLEAN_DRAWINGS else origin
    origin = origin or rng.choice(get_args(Origin), p=[SHARES[each] for each in get_args(Origin)])
    factor = float(rng.uniform(1 / LARGEST_REDUCTION, 1)) if rng.random() < _SCALED_SHARE else 1.0
    later = factor < 1 and origin == "camera" and bool(rng.random() < 0.5)  # after the noise, which it makes weaker and finer
    gray = bool(rng.random() < _GRAY_SHARE)
    kept = side + 2 * MARGIN
    source = source if later else _center(downscale(source, factor) if factor < 1 else source, kept)
    source = _to_gray(source) if gray else source
    if origin in ("rounded", "varying"):
        sigma *= float(rng.uniform(*_WEAKER))
    noisy, twin = _MAKERS[origin](source, sigma, rng)
    if variety.color_smoothed and origin == "camera" and rng.random() < variety.color_smoothed:
        least, most = _COLOR_SMOOTHING
        chroma = math.exp(rng.uniform(math.log(least), math.log(most)))
        noisy, twin = (np.clip(smooth(each, 0, chroma), 0, 1) for each in (noisy, twin))
    if later:
        noisy, twin = (_center(downscale(each, factor), kept) for each in (noisy, twin))
    if variety.framed and rng.random() < variety.framed:
        noisy, twin = _framed((noisy, twin), rng)
    if gray:
        noisy, twin = _to_gray(noisy), _to_gray(twin)
    if origin in ("white", "varying"):  # neither rounded nor clipped
        return Degraded(*(_center(each, side) for each in (noisy, twin, noisy - twin)))
    before = twin
    finish = _compression(rng)
    noisy, twin = finish(noisy), finish(twin)
    if gray:
        noisy, twin = _to_gray(noisy), _to_gray(twin)
    before, noisy, twin = (_center(each, side) for each in (before, noisy, twin))
    noise = noisy - twin
    strength, error = (float(np.sqrt(np.square(each).mean())) for each in (noise, before - twin))
    restored = np.float32(min(1.0, _RESTORED * strength / max(error, 1e-6)))
    return Degraded(noisy, twin + restored * (before - twin), noise)


def _camera(source: Planes, _: float, rng: np.random.Generator) -> tuple[Planes, Planes]:
    """Take a picture with a camera; return it and the one without noise."""
    contrast = bool(rng.random() < 0.5)
    response, noise = ColorResponse.draw(rng), SensorNoise.draw(rng)
    corner = (int(rng.integers(2)), int(rng.integers(2)))
    method: Demosaicking | None = _DEMOSAICKING[int(rng.integers(len(_DEMOSAICKING)))]
    softness = (float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.5, 2.5))) if rng.random() < 0.4 else None
    sharpness = (float(rng.uniform(0.2, 1.2)), float(rng.uniform(0.6, 1.5))) if rng.random() < 0.35 else None

    def develop(sensor: Planes) -> Planes:
        if method:
            sensor = demosaic(mosaic(sensor, corner), corner, method)
        picture = tone.to_srgb(np.clip(response.to_srgb_linear(sensor), 0, 1))
        picture = tone.add_contrast(picture) if contrast else picture
        picture = np.clip(smooth(picture, *softness), 0, 1) if softness else picture
        return sharpen(picture, *sharpness) if sharpness else picture

    sensor = response.to_sensor(tone.to_linear(tone.remove_contrast(source) if contrast else source))
    return develop(noise.add(sensor, rng)), develop(sensor)


def _white(source: Planes, sigma: float, rng: np.random.Generator) -> tuple[Planes, Planes]:
    return source + np.float32(sigma) * rng.standard_normal(source.shape, np.float32), source


def _varying(source: Planes, sigma: float, rng: np.random.Generator) -> tuple[Planes, Planes]:
    """Add white noise whose level varies smoothly, over a range of about 1 to 7 around sigma."""
    coarse = rng.standard_normal((4, 4))
    factors = [-(-size // 4) for size in source.shape[1:]]
    field = ndimage.zoom(coarse, factors, order=1, mode="nearest", grid_mode=True)[: source.shape[1], : source.shape[2]]
    level = (sigma * np.exp(0.5 * field)).astype(np.float32)
    return source + level * rng.standard_normal(source.shape, np.float32), source


def _clean(source: Planes, _: float, __: np.random.Generator) -> tuple[Planes, Planes]:
    return source, source


_MAKERS: Mapping[Origin, Callable[[Planes, float, np.random.Generator], tuple[Planes, Planes]]] = {
    "camera": _camera,
    "white": _white,
    "rounded": _white,
    "varying": _varying,
    "clean": _clean,
}


def _framed(pictures: Sequence[Planes], rng: np.random.Generator) -> list[Planes]:
    """Paint the same frame over pictures. A frame has no noise, which says nothing about the rest of the picture."""
    height, width = pictures[0].shape[1:]
    color = np.float32(rng.integers(2)) if rng.random() < 0.5 else rng.random((3, 1, 1), np.float32)
    top, bottom, left, right = (
        int(size * rng.uniform(0, _WIDEST_FRAME)) if rng.random() < 0.6 else 0 for size in (height, height, width, width)
    )
    inside = np.zeros((height, width), bool)
    inside[top : height - bottom, left : width - right] = True
    return [np.where(inside, picture, color) for picture in pictures]


def _compression(rng: np.random.Generator) -> Callable[[Planes], Planes]:
    """Draw how a picture is stored: rounded to 8 bits, or compressed."""
    if rng.random() < _ROUNDED_SHARE:
        return lambda picture: np.rint(picture.clip(0, 1) * 255).astype(np.float32) / np.float32(255)
    offset = (int(rng.integers(BLOCK)), int(rng.integers(BLOCK))) if rng.random() < 0.3 else (0, 0)
    compression = Compression(int(rng.integers(60, 101)), bool(rng.random() < 0.6), offset)
    return lambda picture: compression.apply(picture.clip(0, 1))


def _center(planes: Planes, side: int) -> Planes:
    top, left = ((length - side) // 2 // BLOCK * BLOCK for length in planes.shape[1:])
    return planes[:, top : top + side, left : left + side].copy()


def _to_gray(planes: Planes) -> Planes:
    gray = np.tensordot(GRAY_WEIGHTS.astype(np.float32), planes, axes=1)
    return np.broadcast_to(gray, planes.shape)
