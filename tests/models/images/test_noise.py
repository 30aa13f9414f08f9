"""Noise: the same for the same seed, and of the size and shape it is said to be."""

import pytest
import torch

from models.images.noise import add_noise


def test_is_sigma_times_the_generators_normal_numbers() -> None:
    clean = torch.rand(7, 9)
    expected = clean + 0.1 * torch.randn(63, generator=torch.Generator().manual_seed(3)).view(7, 9)
    assert torch.equal(add_noise(clean, 0.1, seed=3), expected)


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    add_noise(torch.zeros(4, 4), 0.5, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_has_the_standard_deviation_and_is_not_clipped() -> None:
    noise = add_noise(torch.zeros(200, 200), 0.25, seed=1)
    assert noise.std().item() == pytest.approx(0.25, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.min() < -0.5
    assert noise.dtype == torch.float32


def test_no_noise_is_the_image_itself() -> None:
    clean = torch.rand(5, 5)
    assert torch.equal(add_noise(clean, 0, seed=0), clean)
