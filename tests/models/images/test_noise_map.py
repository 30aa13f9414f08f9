"""Noise level maps: measured on known noise, enlarged, and summed up."""

import numpy as np
import pytest
import torch

from models.images.noise_map import CELL, WHITE, channel_level, enlarge, measured_map


def test_white_noise_has_the_levels_that_a_network_is_told_for_it() -> None:
    noise = 0.1 * torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    levels = measured_map(noise)
    assert levels.shape == (1, 2, 64, 64)
    assert levels.mean((2, 3))[0].tolist() == pytest.approx([0.1 * WHITE[0], 0.1 * WHITE[1]], rel=0.01)
    assert channel_level(levels[0]).mean().item() == pytest.approx(0.1, rel=0.01)


def test_equal_channels_have_no_noise_in_their_differences() -> None:
    noise = 0.1 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0)).expand(1, 3, -1, -1)
    luma, differences = measured_map(noise)[0]
    assert luma.mean().item() == pytest.approx(0.1, rel=0.02)
    assert differences.max() < 1e-6


def test_a_map_follows_noise_that_varies() -> None:
    noise = torch.randn(1, 3, 128, 256, generator=torch.Generator().manual_seed(0))
    noise[..., 128:] *= 4
    levels = measured_map(noise)[0, 1]
    assert levels[:, :10].mean().item() == pytest.approx(1, rel=0.1)
    assert levels[:, -10:].mean().item() == pytest.approx(4, rel=0.1)


def test_enlarging_interpolates_between_the_centers_of_the_cells() -> None:
    cells = torch.rand(2, 3, 5)
    whole = enlarge(cells, slice(0, 24), slice(0, 40))
    rows, columns = (np.arange(side) / CELL + 0.5 / CELL - 0.5 for side in (24, 40))
    for plane, values in zip(cells.numpy(), whole.numpy(), strict=True):
        along = np.stack([np.interp(columns, np.arange(5), row) for row in plane])
        expected = np.stack([np.interp(rows, np.arange(3), column) for column in along.T], 1)
        np.testing.assert_allclose(values, expected, atol=1e-6)


def test_the_values_of_a_pixel_do_not_depend_on_the_part() -> None:
    cells = torch.rand(2, 6, 7)
    whole = enlarge(cells, slice(-3, 50), slice(-2, 60))
    part = enlarge(cells, slice(13, 29), slice(5, 44))
    assert torch.equal(part, whole[:, 16:32, 7:46])
    assert torch.equal(whole[:, 0], whole[:, 3])  # beyond the picture, the nearest cell counts
