"""Tests that an N3UNet gives the dense result, no matter how an image is cut."""

from typing import Any

import pytest
import torch

from models.inference.cut_plan import STRIP_PIXELS, Plan, cut_panels, make_plan
from models.inference.denoiser import Denoiser
from models.steps import run_through
from tests.support.networks import random_image, random_unet

CPU = torch.device("cpu")
VARIANTS: dict[str, dict[str, Any]] = {
    "decoder": {},
    "encoder, two levels": {"position": "encoder", "levels": 2},
    "both": {"position": "both"},
    "none, two levels": {"position": "none", "levels": 2},
    "color": {"channels": 3},
    "wide coarse levels": {"coarse_features": (7, 20)},
}


def unet(**changes: Any) -> Denoiser:
    return Denoiser(random_unet(1, **changes), CPU, torch.float32, 1 << 28)


def noisy_image(denoiser: Denoiser, height: int, width: int) -> torch.Tensor:
    planes = [random_image(height, width, seed) for seed in range(denoiser.channels)]
    return torch.stack(planes) if denoiser.channels > 1 else planes[0]


def dense(denoiser: Denoiser, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = denoiser.weights.network()(noisy.view(1, -1, *noisy.shape[-2:]), sigma)
    return out.view_as(noisy)


def assert_same(image: torch.Tensor, reference: torch.Tensor) -> None:
    assert image.shape == reference.shape
    assert (image - reference).abs().max() <= 1e-5 * max(1.0, float(reference.abs().max()))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(80, 96), (97, 123), (33, 200), (300, 21), (7, 5), (1, 1), (20, 90)])
def test_strips_of_any_height_give_the_dense_result(size: tuple[int, int], variant: str) -> None:
    denoiser = unet(**VARIANTS[variant])
    noisy = noisy_image(denoiser, *size)
    reference = dense(denoiser, noisy, torch.tensor(0.1))
    panels = denoiser.plan(*size).panels
    for rows, side, batch in ((1, 1, 1), (3, 8, 2), (7, 4, 3), (1000, 8, 8)):
        assert_same(run_through(denoiser.planned_steps(noisy, 0.1, Plan(panels, rows, side, batch))), reference)


@pytest.mark.parametrize("variant", VARIANTS)
def test_panels_give_the_whole_result(variant: str) -> None:
    denoiser = unet(**VARIANTS[variant])
    noisy = noisy_image(denoiser, 41, 803)
    whole, columns = denoiser.denoise(noisy, 0.1), denoiser.plan(41, 803).panels[-1].stop
    for widest in (1, 250, 330):
        panels = tuple(cut_panels(denoiser.footprint, columns, widest))
        assert len(panels) > 1
        assert_same(run_through(denoiser.planned_steps(noisy, 0.1, Plan(panels, 9, 8, 4))), whole)


def test_a_cut_reaches_as_far_as_the_plan_says_and_not_much_farther() -> None:
    for variant in VARIANTS.values():
        denoiser = unet(**variant)
        halo = 2 * denoiser.footprint.reach
        noisy = noisy_image(denoiser, 24, 3 * halo)
        other = noisy.clone()
        other[..., 0] += 1
        difference = denoiser.denoise(noisy, 0.1) != denoiser.denoise(other, 0.1)
        changed = difference.view(-1, difference.shape[-1]).any(0).nonzero().max()
        assert changed < halo
        assert changed > halo - 60


@pytest.mark.parametrize("width", [600, 2000, 2003])
def test_panels_lie_on_the_grids_of_all_levels_and_of_the_patches(width: int) -> None:
    footprint = unet().footprint
    columns = -(-width // 8) * 4
    kept = []
    for panel in cut_panels(footprint, columns, 400):
        kept += list(range(panel.first, panel.end))
        assert panel.start % 4 == 0
        assert panel.stop % 4 == 0
        assert (panel.stop - panel.start + sum(panel.padding)) % 3 == 0
        assert panel.start == 0 or panel.first - panel.start >= footprint.reach
        assert panel.stop == columns or panel.stop - panel.end >= footprint.reach
    assert kept == list(range(columns))


@pytest.mark.parametrize("size", [(40, 48), (37, 61), (5, 9)])
def test_a_noise_level_map_gives_the_dense_result(size: tuple[int, int]) -> None:
    denoiser = unet()
    noisy = noisy_image(denoiser, *size)
    level = torch.linspace(0, 0.25, size[1]).expand(size).contiguous()
    reference = dense(denoiser, noisy, level[None, None])
    panels = denoiser.plan(*size).panels
    assert_same(run_through(denoiser.planned_steps(noisy, level, Plan(panels, 5, 8, 8))), reference)
    assert not torch.allclose(reference, dense(denoiser, noisy, torch.tensor(0.1)))
    assert_same(denoiser.denoise(noisy, torch.full(size, 0.1)), denoiser.denoise(noisy, 0.1))


def test_an_n3net_takes_a_noise_level_map_too() -> None:
    denoiser = Denoiser.load("n3net", device="cpu", dtype="float32")
    noisy = random_image(40, 50)
    assert_same(denoiser.denoise(noisy, torch.full((40, 50), 0.1)), denoiser.denoise(noisy, 0.1))


@pytest.mark.parametrize("bad", [torch.full((3, 3), 0.1), torch.full((16, 16), 0.5), torch.full((16, 16), torch.nan)])
def test_a_map_of_another_size_or_outside_the_range_is_rejected(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"map|sigma"):
        unet().denoise(random_image(16, 16), bad)


def test_a_color_network_takes_color_and_nothing_else() -> None:
    with pytest.raises(ValueError, match=r"\(3, H, W\)"):
        unet(channels=3).denoise(random_image(16, 16), 0.1)
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        unet().denoise(torch.rand(3, 16, 16), 0.1)


def test_progress_rises_to_one_in_many_steps() -> None:
    denoiser = unet()
    plan = make_plan(denoiser.footprint, 60, 400, 1, strip_pixels=800)
    fractions = list(denoiser.planned_steps(random_image(120, 800), 0.1, plan))
    assert fractions == sorted(set(fractions))
    assert fractions[-1] == 1
    assert max(after - before for before, after in zip([0.0, *fractions], fractions, strict=False)) < 0.05


def test_strips_of_wide_pictures_have_enough_rows_for_the_coarsest_level_if_the_budget_allows() -> None:
    footprint = unet().footprint
    assert make_plan(footprint, 2000, 3000, 1 << 30).rows == STRIP_PIXELS // 3000
    assert make_plan(footprint, 2000, 3000, 1 << 30, strip_pixels=STRIP_PIXELS // 4).rows == footprint.rows == 16
    assert make_plan(footprint, 2000, 3000, 1, strip_pixels=STRIP_PIXELS // 4).rows < 16


def test_bfloat16_stays_close() -> None:
    denoiser, noisy = unet(), random_image(64, 64)
    half = Denoiser(denoiser.weights, CPU, torch.bfloat16, 1 << 28).denoise(noisy, 0.1)
    exact = denoiser.denoise(noisy, 0.1)
    assert (half - exact).abs().mean() < 0.02 * exact.abs().mean()
