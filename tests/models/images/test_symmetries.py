"""The eight symmetries of the square, against a list written by hand."""

import numpy as np
import pytest

from models.images.symmetries import IDENTITY, SYMMETRIES, Symmetry

IMAGE = np.arange(12).reshape(3, 4)


def test_they_are_the_eight() -> None:
    by_hand = [
        IMAGE,
        IMAGE[::-1],
        IMAGE[:, ::-1],
        IMAGE[::-1, ::-1],
        IMAGE.T,
        IMAGE.T[::-1],
        IMAGE.T[:, ::-1],
        IMAGE.T[::-1, ::-1],
    ]
    found = {(view.shape, view.tobytes()) for view in (symmetry.apply(IMAGE) for symmetry in SYMMETRIES)}
    assert len(SYMMETRIES) == 8
    assert found == {(view.shape, view.tobytes()) for view in by_hand}


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_each_can_be_undone(symmetry: Symmetry) -> None:
    assert np.array_equal(symmetry.undo(symmetry.apply(IMAGE)), IMAGE)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_they_act_on_each_channel_alike(symmetry: Symmetry) -> None:
    channels = np.stack((IMAGE, IMAGE + 100, -IMAGE))
    expected = np.stack([symmetry.apply(channel) for channel in channels])
    assert np.array_equal(symmetry.apply(channels), expected)
    assert np.array_equal(symmetry.undo(expected), channels)


def test_the_first_changes_nothing() -> None:
    assert np.array_equal(IDENTITY.apply(IMAGE), IMAGE)
