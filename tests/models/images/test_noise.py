"""Noise: reproducible by its seed, with the stated strength; and the check of noise levels."""

import pytest
import torch

from models.images.noise import add_noise, check_sigma, in_sigma_range


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


@pytest.mark.parametrize(
    ("sigma", "inside"), [(4.9, False), (5, True), (50, True), (50 + 1e-5, True), (50.1, False), (float("nan"), False)]
)
def test_a_range_includes_its_ends_up_to_rounding(sigma: float, inside: bool) -> None:
    assert in_sigma_range(sigma, (5, 50)) is inside


def test_a_noise_level_out_of_range_is_refused_with_the_range() -> None:
    check_sigma(25, (5, 50))
    with pytest.raises(ValueError, match="sigma must lie between 5 and 50, but is 51"):
        check_sigma(51, (5, 50))
