"""Which cells of a picture can show noise, and which belong to a frame."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from service.denoising.cells import picture_cells
from service.imaging.picture import Planes

SIDE, FRAME = 112, 32
INSIDE = slice(FRAME // 8 + 2, (FRAME + SIDE) // 8 - 2)  # two cells beside the frame count as part of it


def framed(value: float) -> Planes:
    """Return noise in a frame of one color."""
    noise = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((3, SIDE, SIDE)).astype(np.float32)
    return np.pad(noise, ((0, 0), (FRAME, FRAME), (FRAME, FRAME)), constant_values=value)


def test_a_picture_without_a_frame_is_used_as_a_whole() -> None:
    cells = picture_cells(framed(0)[:, FRAME:-FRAME, FRAME:-FRAME], None)
    assert cells.visible.all()
    assert cells.shown.all()
    assert cells.rows == cells.columns == slice(0, SIDE // 8)
    assert not cells.kept.any()


def rectangle(planes: Planes) -> None:
    """Draw a line, a pixel wide, two pixels from the edge."""
    planes[:, 2, 2:-2] = planes[:, -3, 2:-2] = planes[:, 2:-2, 2] = planes[:, 2:-2, -3] = 0.6


def caption(planes: Planes) -> None:
    """Write below the picture."""
    planes[:, -20:-10, 60:110] = np.random.default_rng(1).integers(2, size=(10, 50))


@pytest.mark.parametrize("value", [0, 0.8])
@pytest.mark.parametrize("ornaments", [(), (rectangle,), (caption,), (rectangle, caption)])
def test_a_frame_is_cut_off_with_its_lines_and_captions(value: float, ornaments: tuple[Callable[[Planes], None], ...]) -> None:
    planes = framed(value)
    for draw in ornaments:
        draw(planes)
    cells = picture_cells(planes, None)
    assert cells.rows == cells.columns == INSIDE
    assert not cells.kept[4:18, 4:18].any()
    assert cells.kept.sum() == (~cells.visible).sum()  # what was drawn in the frame is not of one color


def test_a_bar_at_one_side_is_cut_off() -> None:
    planes = framed(0)[:, FRAME:, FRAME:-FRAME]
    cells = picture_cells(planes, None)
    assert cells.rows == slice(0, SIDE // 8 - 2)
    assert cells.columns == slice(0, SIDE // 8)
    assert cells.kept[SIDE // 8 :].all()


def test_a_wide_bar_within_the_picture_is_not_a_frame() -> None:
    planes = framed(0)[:, FRAME:-FRAME, FRAME:-FRAME].copy()
    planes[:, 40:72] = 0.7
    cells = picture_cells(planes, None)
    assert cells.rows == slice(0, SIDE // 8)
    assert not cells.kept.any()


def test_so_little_is_left_of_a_picture_that_all_of_it_is_used() -> None:
    planes = np.full((1, 96, 96), 0.7, np.float32)
    planes[:, 40:56, 40:56] = np.random.default_rng(0).random((16, 16))
    cells = picture_cells(planes, None)
    assert cells.rows == cells.columns == slice(0, 12)


def test_what_alpha_hides_does_not_count() -> None:
    alpha: NDArray[np.float32] = np.zeros((SIDE, SIDE), np.float32)
    planes = framed(0)[:, FRAME:-FRAME, FRAME:-FRAME]
    alpha[4:, :60] = 0.5
    cells = picture_cells(planes, alpha)
    np.testing.assert_array_equal(cells.shown, cells.visible)
    assert cells.shown[:, :8].all()
    assert not cells.shown[:, 8:].any()
    assert (cells.rows, cells.columns) == (slice(0, 14), slice(0, 6))
    assert picture_cells(planes, np.zeros_like(alpha)).shown.all()
