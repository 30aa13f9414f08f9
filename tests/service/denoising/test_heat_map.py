"""The heat map of the patches that an N3 block averages."""

import numpy as np

from models.neighbors.neighborhood import Neighborhood
from service.denoising.heat_map import heat_map
from service.imaging.picture import Picture


def drawn(query: tuple[int, int], candidates: list[tuple[int, int]], weights: list[float], side: int = 30) -> np.ndarray:
    picture = Picture(np.full((1, side, side), 0.5, np.float32))
    found = Neighborhood(query, 0.1, np.array(candidates), np.array([weights], np.float32))
    result = heat_map(picture, found, 4)
    assert result.rgb
    assert result.planes.min() >= 0
    assert result.planes.max() <= 1
    return result.planes


def test_the_heaviest_patch_is_red_and_light_ones_are_yellow() -> None:
    planes = drawn((13, 13), [(2, 3), (20, 20), (0, 26)], [0.9, 0.1, 0.0])
    red, yellow, nothing = planes[:, 5, 4], planes[:, 22, 22], planes[:, 28, 2]
    assert red[0] > 0.8
    assert red[1] < 0.1
    assert yellow[0] > 0.5 > yellow[2]
    assert yellow[1] > red[1]
    np.testing.assert_allclose(nothing, 0.5)
    np.testing.assert_allclose(planes[:, 15, 15], 0.5)  # the query patch itself
    assert planes[2, 12, 12] == 1  # its frame is blue
    assert planes[0, 12, 12] == 0


def test_patches_may_begin_outside_the_picture() -> None:
    planes = drawn((13, 13), [(-3, 0), (28, 28), (40, 40), (-9, -9)], [0.5, 0.5, 0.0, 0.0])
    assert planes[0, 2, 0] > 0.8
    assert planes[0, 29, 29] > 0.8
    np.testing.assert_allclose(planes[:, 15, 15], 0.5)


def test_a_tiny_picture_is_drawn() -> None:
    planes = drawn((-2, -2), [(3, 3), (-6, 1)], [0.5, 0.5], side=1)
    np.testing.assert_allclose(planes, np.full((3, 1, 1), 0.5))
