"""Simulated drawings: sharp edges, parts of one color, and no noise."""

import numpy as np

from models.training.photographs.degradation import Variety, degrade, source_side
from models.training.photographs.drawing import draw


def test_drawings_are_pictures_with_parts_of_one_color_and_sharp_edges() -> None:
    steps = []
    for seed in range(20):
        planes = draw(160, np.random.default_rng(seed))
        assert planes.shape == (3, 160, 160)
        assert planes.dtype == np.float32
        assert planes.min() >= 0
        assert planes.max() <= 1
        np.testing.assert_array_equal(planes, draw(160, np.random.default_rng(seed)))
        across = np.abs(np.diff(planes, axis=2)).max(0)
        assert (across == 0).mean() > 0.5
        steps.append(across.max())
    assert np.median(steps) > 0.3


def test_a_drawing_takes_the_place_of_the_image_and_half_of_them_have_no_noise() -> None:
    image = np.full((3, source_side(64), source_side(64)), 0.5, np.float32)
    made = [degrade(image, 64, np.random.default_rng(seed), 0.1, variety=Variety(drawn=1)) for seed in range(60)]
    assert np.mean([np.ptp(each.clean) > 0.2 for each in made]) > 0.8  # the others show a part of one color
    assert 24 <= sum(not each.noise.any() for each in made) <= 44
    assert degrade(image, 64, np.random.default_rng(0), 0.1, "camera", Variety(drawn=1)).noise.any()
