"""Tests of non-local means."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from models.neighbors import nlm
from models.neighbors.nlm import NonLocalMeans


def bars(height: int, width: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Return an image of vertical bars, clean and noisy."""
    clean = (torch.arange(width) // 8 % 2 * 0.6 + 0.2).expand(height, width)
    return clean, clean + sigma * torch.randn(height, width, generator=torch.Generator().manual_seed(0))


def by_loops(noisy: np.ndarray, sigma: float, rows: range, columns: range) -> np.ndarray:
    """Return the weighted means of scikit-image's fast mode, computed pixel by pixel.

    Its summed-area table covers only 4 x 4 pixels of a 5 x 5 patch but is divided by 25, and weights below exp(-5) count as 0.
    It also approximates the exponential, which these loops do not.
    """
    halo = nlm.REACH + nlm.PATCH
    padded = np.pad(noisy, halo, mode="symmetric")
    reach = range(-nlm.REACH, nlm.REACH + 1)

    def patch(row: int, column: int) -> np.ndarray:
        return padded[row + halo - 1 : row + halo + 3, column + halo - 1 : column + halo + 3]

    out = np.empty((len(rows), len(columns)))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            weights, total = 0.0, 0.0
            for down, right in itertools.product(reach, reach):
                squares = (patch(row, column) - patch(row + down, column + right)) ** 2 - 2 * sigma**2
                apart = max(squares.sum() / 25, 0) / (nlm.STRENGTH * sigma) ** 2
                weight = np.exp(-apart) if apart <= 5 else 0
                weights += weight
                total += weight * padded[row + down + halo, column + right + halo]
            out[i, j] = total / weights
    return out


def test_denoised_image_agrees_with_loops() -> None:
    _, noisy = bars(24, 20, 0.1)
    denoised = NonLocalMeans().denoise(noisy, 0.1).numpy()
    for rows, columns in ((range(4), range(3)), (range(10, 13), range(8, 12))):
        expected = by_loops(noisy.double().numpy(), 0.1, rows, columns)
        np.testing.assert_allclose(denoised[rows.start : rows.stop, columns.start : columns.stop], expected, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.04, 0.1, 0.25])
def test_denoising_removes_most_of_the_error(sigma: float) -> None:
    clean, noisy = bars(64, 64, sigma)
    denoised = NonLocalMeans().denoise(noisy, sigma)
    assert denoised.dtype == torch.float32
    assert (denoised - clean).square().mean() < 0.25 * (noisy - clean).square().mean()


def test_result_does_not_depend_on_the_strip_height(monkeypatch: pytest.MonkeyPatch) -> None:
    _, noisy = bars(50, 30, 0.1)
    whole = NonLocalMeans().denoise(noisy, 0.1)
    monkeypatch.setattr(nlm, "STRIP", 7)
    stepping = NonLocalMeans().steps(noisy, 0.1)
    progress = []
    while True:
        try:
            progress.append(next(stepping))
        except StopIteration as finished:
            torch.testing.assert_close(finished.value, whole, atol=1e-5, rtol=0)
            break
    assert progress == [min(7 * (i + 1), 50) / 50 for i in range(8)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 40)])
def test_constant_images_of_any_size_stay_constant(shape: tuple[int, int]) -> None:
    denoised = NonLocalMeans().denoise(torch.full(shape, 0.4), 0.1)
    torch.testing.assert_close(denoised, torch.full(shape, 0.4))


def test_invalid_arguments_are_rejected() -> None:
    for image, sigma, message in (
        (torch.rand(1, 1, 8, 8), 0.1, "an image must be"),
        (torch.rand(0, 8), 0.1, "an image must be"),
        (torch.rand(8, 8), 0.0, "sigma"),
        (torch.rand(8, 8), 0.5, "sigma"),
    ):
        with pytest.raises(ValueError, match=message):
            NonLocalMeans().steps(image, sigma)  # the call itself raises, before the first step
