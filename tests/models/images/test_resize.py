"""Tests of bicubic resizing against Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from models.images.resize import enlarge, resize, shrink

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("height", "width"), [(24, 36), (7, 5), (1, 1), (40, 13)])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_enlarging_is_that_of_pillow(height: int, width: int, factor: int) -> None:
    image = RNG.random((height, width), np.float32)
    expected = np.asarray(Image.fromarray(image).resize((factor * width, factor * height), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(enlarge(torch.from_numpy(image)[None, None], factor)[0, 0].numpy(), expected, atol=5e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_reducing_is_that_of_pillow_which_smooths_first(factor: int) -> None:
    image = RNG.random((24, 36), np.float32)
    expected = np.asarray(Image.fromarray(image).resize((36 // factor, 24 // factor), Image.Resampling.BICUBIC))
    reduced = shrink(torch.from_numpy(image)[None, None], factor)[0, 0].numpy()
    np.testing.assert_allclose(reduced, expected, atol=2e-6)
    assert reduced.std() < 0.5 * image.std()


def test_a_constant_image_stays_constant_up_to_its_borders() -> None:
    image = torch.full((1, 1, 8, 12), 0.3)
    assert torch.allclose(enlarge(image, 3), torch.full((1, 1, 24, 36), 0.3))
    assert torch.allclose(resize(image, 4, 4), torch.full((1, 1, 4, 4), 0.3))


def test_reducing_needs_sides_that_are_multiples() -> None:
    with pytest.raises(ValueError, match="9 x 12 are not multiples of 2"):
        shrink(torch.zeros(1, 1, 9, 12), 2)
