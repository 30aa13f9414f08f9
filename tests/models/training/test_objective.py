"""The losses against values computed by hand."""

import math

import pytest
import torch

from models.training.objective import LOSS_FLOOR, denoising_loss


def test_losses() -> None:
    clean = torch.zeros(2, 1, 4, 4)
    denoised = torch.tensor([0.1, 0.2]).view(2, 1, 1, 1).expand_as(clean)
    sigma = torch.tensor([0.0, 0.8]).view(2, 1, 1, 1)
    assert denoising_loss("mse", denoised, clean, sigma).item() == pytest.approx(0.025)
    plain = (math.log(0.01 + LOSS_FLOOR) + math.log(0.04 + LOSS_FLOOR)) / 2
    assert denoising_loss("log_mse", denoised, clean, sigma).item() == pytest.approx(plain)
    softened = (math.log(0.01 + LOSS_FLOOR) + math.log(0.04 + LOSS_FLOOR + 0.04)) / 2
    assert denoising_loss("softened_log_mse", denoised, clean, sigma).item() == pytest.approx(softened)
