"""Drawings: pages of text, charts and screenshots, whose sharp edges a network must not take for noise."""

import string

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Planes = NDArray[np.float32]

_TEXT_SIZES = (8, 28)  # pixels
_MOST_SHAPES = 8
_PLAIN = 0.6  # of the backgrounds are nearly gray, as paper and windows are
_PAGE = 0.7  # of the drawings have lines of text
_LEAST_CONTRAST = 60  # gray levels between text and its background


def draw(side: int, rng: np.random.Generator) -> Planes:
    """Draw shapes and lines of text on a background of one color.

    Args:
        side: Side of the picture in pixels.
        rng: The source of randomness.

    Returns:
        (3, side, side), with white at 1.
    """
    background = rng.integers(256) + rng.integers(-6, 7, 3) if rng.random() < _PLAIN else rng.integers(256, size=3)
    picture = Image.new("RGB", (side, side), _color(background))
    canvas = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(_MOST_SHAPES))):
        left, top = (int(place) for place in rng.integers(-side // 4, side, 2))
        box = (left, top, left + int(rng.integers(2, side)), top + int(rng.integers(2, side // 2)))
        color = _color(rng.integers(256, size=3))
        if rng.random() < 0.6:
            canvas.rectangle(box, fill=color if rng.random() < 0.7 else None, outline=color)
        else:
            canvas.line(box, fill=color, width=int(rng.integers(1, 5)))
    if rng.random() < _PAGE:
        _write(canvas, side, background, rng)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1), np.float32) / np.float32(255)


def _write(canvas: ImageDraw.ImageDraw, side: int, background: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Write lines of random words, all of one size, from a random place on."""
    size = int(rng.integers(*_TEXT_SIZES))
    font = ImageFont.load_default(size)
    ink = rng.integers(256, size=3) if rng.random() < 0.3 else np.full(3, rng.integers(256))
    if abs(int(ink.mean()) - int(background.mean())) < _LEAST_CONTRAST:
        ink = np.full(3, 255 if background.mean() < 128 else 0)
    letters = np.array([*string.ascii_letters, *string.digits, *"    .,:-"])
    left = int(rng.integers(side // 2))
    for top in range(int(rng.integers(side // 2)), side, int(size * rng.uniform(1.1, 2))):
        canvas.text((left, top), "".join(rng.choice(letters, side // 4)), fill=_color(ink), font=font)


def _color(values: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(value) for value in values.clip(0, 255))
