"""Putative matches of pictures, and pictures of matches."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.transform import AffineTransform, warp

from models.correspondences import detection
from models.correspondences.detection import Detector, putative_matches
from models.correspondences.drawing import CORRECT, MOST_LINES, WRONG, draw_matches

MOTION = AffineTransform(rotation=0.1, translation=(14.5, -9))


def textured() -> NDArray[np.float32]:
    return np.asarray(data.gravel()[:140, :160] / 255, np.float32)


@pytest.mark.parametrize("detector", get_args(Detector))
@pytest.mark.parametrize("longest_side", [detection.LONGEST_SIDE, 120])
def test_a_moved_picture_matches_where_it_was_moved(
    detector: Detector, longest_side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "LONGEST_SIDE", longest_side)  # points may be found in a reduced picture
    first = textured()
    second = warp(first, MOTION.inverse).astype(np.float32)
    matches = putative_matches(first, second, detector)
    assert len(matches) > 30
    errors = np.linalg.norm(MOTION(matches[:, :2]) - matches[:, 2:], axis=1)
    assert (errors < 2).mean() > 0.8
    assert np.median(errors) < 0.8


def test_a_stricter_ratio_keeps_fewer() -> None:
    first = textured()
    second = warp(first, MOTION.inverse).astype(np.float32)
    strict, every = (len(putative_matches(first, second, "orb", ratio)) for ratio in (0.6, 1.0))
    assert 0 < strict < every


@pytest.mark.parametrize("detector", get_args(Detector))
@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (3, 500)])
def test_pictures_without_points_have_no_matches(detector: Detector, shape: tuple[int, int]) -> None:
    assert putative_matches(np.full(shape, 0.5, np.float32), textured(), detector).shape == (0, 4)


def test_lines_have_the_colors_of_their_probabilities() -> None:
    gray = np.full((3, 40, 50), 0.5, np.float32)
    matches = np.array([[10, 5, 20, 5], [10, 20, 20, 20], [10, 30, 20.4, 30]], np.float32)
    drawn = draw_matches(gray, gray[:, :35, :30], matches, np.array([0, 1, 0.5], np.float32))
    assert drawn.shape == (3, 40, 80)
    for row, color in ((5, WRONG), (20, CORRECT), (30, (WRONG + CORRECT) / 2)):
        np.testing.assert_allclose(drawn[:, row, 40], color, atol=0.01)
        np.testing.assert_allclose(drawn[:, row, 5], 0.3)  # the line begins at column 10
        np.testing.assert_allclose(drawn[:, row, 75], 0.3)  # and ends at column 20 of the second picture
    assert (drawn[:, 38, 60] == 1).all()  # below the smaller picture


def test_every_match_has_its_squares_but_not_a_line() -> None:
    gray = np.zeros((3, 600, 20), np.float32)
    rows = np.arange(300.0) * 2
    matches = np.stack((np.full(300, 5), rows, np.full(300, 9), rows), 1).astype(np.float32)
    drawn = draw_matches(gray, gray, matches, np.ones(300, np.float32))
    np.testing.assert_allclose(drawn[:, ::2, 5], CORRECT[:, None].repeat(300, 1), atol=1e-6)
    assert (drawn[2, ::2, 15] > 0.5).sum() == MOST_LINES


def test_positions_outside_are_cut_off() -> None:
    gray = np.full((3, 20, 20), 0.5, np.float32)
    drawn = draw_matches(gray, gray, np.array([[-5, 3, 30, 25]], np.float32), np.ones(1, np.float32))
    assert drawn.shape == (3, 20, 40)
    np.testing.assert_allclose(drawn[:, 10, 39], 0.3)
