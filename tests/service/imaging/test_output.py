"""What the writers cannot write is refused beforehand, and everything else is written, however small."""

from typing import get_args

import numpy as np
import pytest

from service.errors import InvalidParameter
from service.imaging.codec import decode, encode, output_form
from service.imaging.picture import DEPTHS, LONGEST_SIDE, DecodeLimits, Depth, Format, Picture

SIZES = [(height, width) for height in (1, 2, 3) for width in (1, 2, 3)]
FORMS = [(kind, depth) for kind in get_args(Format) for depth in DEPTHS[kind]]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("kind", "depth"), FORMS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_the_smallest_pictures_are_written(
    height: int, width: int, kind: Format, depth: Depth, channels: int, alpha: bool
) -> None:
    if alpha and kind in ("jpeg", "bmp"):
        return
    levels = np.random.default_rng(0).integers(0, 255, (channels + alpha, height, width)) / 255
    stack = levels.astype(np.float32)
    picture = Picture(stack[:channels], channels == 3, stack[channels] if alpha else None, kind, depth)
    back = decode(encode(picture), DecodeLimits())
    assert back.planes.shape[1:] == (height, width)
    assert (back.alpha is not None) == alpha
    if kind not in ("jpeg", "avif"):
        assert np.allclose(back.planes[:channels], picture.planes, atol=1e-5)


def test_avif_is_lossy_in_its_colors_only() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (4, 40, 50)) / np.float32(255)
    levels[:3] = 0.4 + 0.2 * levels[:3]
    picture = Picture(levels[:3].astype(np.float32), rgb=True, alpha=levels[3].astype(np.float32), format="avif")
    back = decode(encode(picture), DecodeLimits())
    assert back.alpha is not None
    assert np.array_equal(np.rint(back.alpha * 255), np.rint(levels[3] * 255))
    assert 0 < np.abs(back.planes - levels[:3]).mean() * 255 < 2


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
@pytest.mark.parametrize("tall", [False, True])
def test_a_side_that_is_too_long_for_the_format_is_refused(kind: Format, tall: bool) -> None:
    def strip(length: int) -> Picture:
        planes = np.zeros((1, length, 1) if tall else (1, 1, length), np.float32)
        return Picture(planes, format=kind)

    longest = LONGEST_SIDE[kind]
    back = decode(encode(strip(longest)), DecodeLimits())
    assert max(back.planes.shape) == longest
    with pytest.raises(InvalidParameter, match=rf"up to {longest} pixels; use (png or )?tiff"):
        output_form(strip(longest + 1), None, None)
