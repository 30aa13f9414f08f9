"""The losses against values computed by hand."""

import math

import pytest
import torch

from models.images.noise_map import WHITE
from models.networks.noise_level_net import NoiseEstimate
from models.training.objective import LOSS_FLOOR, SEPARATION, denoising_loss, noise_level_loss


def test_losses() -> None:
    clean = torch.zeros(2, 1, 4, 4)
    denoised = torch.tensor([0.1, 0.2]).view(2, 1, 1, 1).expand_as(clean)
    sigma = torch.tensor([0.0, 0.8]).view(2, 1, 1, 1)
    assert denoising_loss("mse", denoised, clean, sigma).item() == pytest.approx(0.025)
    plain = (math.log(0.01 + LOSS_FLOOR) + math.log(0.04 + LOSS_FLOOR)) / 2
    assert denoising_loss("log_mse", denoised, clean, sigma).item() == pytest.approx(plain)
    softened = (math.log(0.01 + LOSS_FLOOR) + math.log(0.04 + LOSS_FLOOR + 0.04)) / 2
    assert denoising_loss("softened_log_mse", denoised, clean, sigma).item() == pytest.approx(softened)


def test_the_loss_of_a_noise_level_is_smallest_at_the_truth() -> None:
    noise = 0.1 * torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    truth = 2 * torch.tensor([0.1 * level for level in WHITE]).log().view(1, 2, 1, 1).expand(2, -1, 32, 32)
    estimates = [NoiseEstimate(truth + 2 * math.log(factor), noise) for factor in (0.5, 0.95, 1.0, 1.05, 2.0)]
    losses = [noise_level_loss(each, noise).item() for each in estimates]
    assert min(losses) == losses[2] < 1e-3
    expected = 2 * 0.3 * (math.log(2) - 0.15)  # Huber, far from the truth: of the cells, and of the picture
    assert losses[0] == pytest.approx(expected, rel=0.02)
    assert losses[4] == pytest.approx(expected, rel=0.02)


def test_the_mean_level_of_a_picture_counts() -> None:
    """An error in one direction in half of the cells, and in the other direction in the rest, leaves the mean level too high."""
    noise = 0.1 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    truth = 2 * torch.tensor([0.1 * level for level in WHITE]).log().view(1, 2, 1, 1).expand(1, -1, 32, 32)
    error = math.log(4) * (1 - 2 * (torch.arange(32) % 2))  # levels are halved or doubled
    mean = math.log((1 / 4 + 4) / 2) / 2
    expected = 0.3 * (math.log(2) - 0.15) + 0.3 * (mean - 0.15)
    assert noise_level_loss(NoiseEstimate(truth + error, noise), noise).item() == pytest.approx(expected, rel=0.02)


def test_the_separated_noise_counts() -> None:
    noise = 0.1 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    truth = 2 * torch.tensor([0.1 * level for level in WHITE]).log().view(1, 2, 1, 1).expand(1, -1, 32, 32)
    loss, best = (noise_level_loss(NoiseEstimate(truth, share * noise), noise).item() for share in (0.5, 1.0))
    expected = SEPARATION * math.log(1 + 0.05**2 / (LOSS_FLOOR + 0.1 / 20))
    assert loss - best == pytest.approx(expected, rel=0.01)
