"""Tests that the result does not depend on how an image is cut."""

from dataclasses import replace

import pytest
import torch

from models.inference.cut_plan import CUDA_BATCH, CUDA_STRIP_PIXELS, Plan, cut_panels, make_plan
from models.inference.denoiser import Denoiser
from models.inference.footprint import footprint
from models.inference.n3net_stream import fold_n3net
from models.inference.row_stages import RowQueue
from models.networks.n3net import N3NetConfig, grid_padding
from models.steps import run_through
from tests.support.networks import SMALL, random_image, random_network, random_weights

CPU = torch.device("cpu")


def denoise(denoiser: Denoiser, noisy: torch.Tensor, plan: Plan | None = None) -> torch.Tensor:
    return run_through(denoiser.planned_steps(noisy, 0.1, plan) if plan else denoiser.steps(noisy, 0.1))


def assert_same(image: torch.Tensor, reference: torch.Tensor) -> None:
    """Compare the largest difference with the largest value, because the results of random networks can be far outside [0, 1]."""
    assert image.shape == reference.shape
    assert (image - reference).abs().max() <= 1e-5 * max(1.0, float(reference.abs().max()))


def small_denoiser(**changes: object) -> Denoiser:
    return Denoiser(random_weights(1, **changes), CPU, torch.float32, 1 << 28)


def one_strip(denoiser: Denoiser, height: int, width: int) -> Plan:
    return make_plan(denoiser.footprint, height, width, 1 << 40, strip_pixels=1 << 40)


@pytest.mark.parametrize("sigma_plane", [True, False])
@pytest.mark.parametrize("size", [(80, 80), (97, 123), (33, 200), (300, 21), (7, 5), (1, 1), (20, 90), (130, 41)])
def test_strips_of_any_height_give_the_dense_result(size: tuple[int, int], sigma_plane: bool) -> None:
    denoiser = small_denoiser(sigma_plane=sigma_plane)
    noisy = random_image(*size)
    with torch.no_grad():
        dense = denoiser.weights.network()(noisy[None, None], torch.tensor(0.1))[0, 0]
    height, width = (max(side, denoiser.smallest_side) for side in size)
    panels = one_strip(denoiser, height, width).panels
    for rows, side, batch in ((1, 1, 1), (3, 8, 2), (7, 4, 3), (height, 8, 8)):
        cut = denoise(denoiser, noisy, Plan(panels, rows, side, batch))
        assert_same(cut, dense)


def test_panels_give_the_whole_result() -> None:
    denoiser = small_denoiser()
    noisy = random_image(45, 403)
    whole = denoise(denoiser, noisy)
    for widest in (1, 230, 300):
        panels = tuple(cut_panels(denoiser.footprint, 403, widest))
        assert len(panels) > 1
        assert_same(denoise(denoiser, noisy, Plan(panels, 9, 8, 4)), whole)


def test_a_cut_reaches_as_far_as_the_plan_says_and_no_farther() -> None:
    denoiser = small_denoiser()
    halo = denoiser.footprint.reach
    noisy = random_image(25, 3 * halo)
    other = noisy.clone()
    other[:, 0] += 1
    changed = (denoise(denoiser, noisy) != denoise(denoiser, other)).any(0).nonzero().max()
    assert changed < halo
    assert changed > halo - 7 * denoiser.footprint.block.stride  # otherwise the halo is larger than it needs to be


@pytest.mark.parametrize("width", [300, 1000, 1003])
def test_panels_lie_on_the_patch_grid_and_cover_every_column_once(width: int) -> None:
    config = N3NetConfig()
    left, right = grid_padding(width, config.stride)
    kept = []
    for panel in cut_panels(footprint(config), width, 500):
        kept += list(range(panel.first, panel.end))
        assert panel.padding == (left if panel.start == 0 else 0, right if panel.stop == width else 0)
        assert (panel.stop - panel.start + sum(panel.padding)) % config.stride == 0
        assert panel.start == 0 or (panel.start + left) % config.stride == 0
        assert panel.start == 0 or panel.first - panel.start >= footprint(config).reach
        assert panel.stop == width or panel.stop - panel.end >= footprint(config).reach
    assert kept == list(range(width))


def test_a_smaller_budget_gives_smaller_strips_then_panels() -> None:
    config = N3NetConfig()
    plans = [make_plan(footprint(config), 4000, 6000, budget) for budget in (4 << 30, 256 << 20, 64 << 20)]
    assert [len(plan.panels) > 1 for plan in plans] == [False, True, True] or len(plans[0].panels) == 1
    held = [plan.rows * max(panel.stop - panel.start for panel in plan.panels) for plan in plans]
    assert held[0] >= held[1] >= held[2]
    assert make_plan(footprint(config), 10, 10, 1).rows == 1


def test_folding_changes_nothing() -> None:
    network = random_network(2)
    folded = fold_n3net(network, CPU, torch.float32)
    maps = torch.rand(1, 2, 12, 13, generator=torch.Generator().manual_seed(0))
    out = maps
    for index, convolution in enumerate(folded.dncnns[0].convolutions):
        out = torch.nn.functional.conv2d(out if index == 0 else out.relu(), convolution.weight, convolution.bias, padding=1)
    out[:, : folded.dncnns[0].residual] += maps[:, : folded.dncnns[0].residual]
    torch.testing.assert_close(out, network.dncnns[0](maps), atol=1e-5, rtol=1e-5)


def test_a_row_queue_returns_rows_in_order() -> None:
    rows = torch.arange(12.0).view(1, 1, 12, 1)
    queue = RowQueue()
    for part in rows.split([1, 4, 0, 5, 2], 2):
        queue.put(part)
    assert queue.rows == 12
    taken = [queue.take(count) for count in (3, 3, 6)]
    assert torch.equal(torch.cat(taken, 2), rows)
    assert queue.rows == 0


def test_strips_give_the_dense_result_in_the_paper_form_with_unbounded_temperature() -> None:
    denoiser = small_denoiser(relaxation="paper", temperature_bound=None)
    noisy = random_image(61, 47)
    with torch.no_grad():
        dense = denoiser.weights.network()(noisy[None, None], torch.tensor(0.1))[0, 0]
    # The paper form divides by the temperature repeatedly, which amplifies rounding errors.
    torch.testing.assert_close(denoise(denoiser, noisy), dense, atol=1e-4, rtol=0)


def test_a_plain_network_without_blocks() -> None:
    denoiser = small_denoiser(blocks=0)
    noisy = random_image(9, 31)
    with torch.no_grad():
        dense = denoiser.weights.network()(noisy[None, None], torch.tensor(0.1))[0, 0]
    panels = one_strip(denoiser, 9, 31).panels
    assert_same(denoise(denoiser, noisy, Plan(panels, 2, 8, 8)), dense)
    assert SMALL["depth"] == denoiser.footprint.reach


def test_a_plan_for_fused_blocks_takes_long_strips_within_the_budget() -> None:
    config = N3NetConfig()
    whole = make_plan(footprint(config), 1024, 1024, 4 << 30, strip_pixels=CUDA_STRIP_PIXELS, batch=CUDA_BATCH, fused=True)
    assert (len(whole.panels), whole.rows, whole.side) == (1, 1024, 204)
    cut = make_plan(footprint(config), 4000, 6000, 1 << 30, strip_pixels=CUDA_STRIP_PIXELS, fused=True)
    assert cut.rows < whole.rows
    assert cut.side == cut.rows // config.stride
    assert make_plan(footprint(config), 10, 10, 1, fused=True).rows == 1
    plain = make_plan(footprint(config), 1024, 1024, 4 << 30, strip_pixels=CUDA_STRIP_PIXELS, batch=CUDA_BATCH)
    assert (plain.side, plain.batch) == (8, CUDA_BATCH)


def test_the_queries_of_a_wide_image_take_many_steps() -> None:
    """A whole span of query rows is computed at a time, no matter how few rows are fed. It must not delay other images."""
    denoiser = Denoiser(random_weights(1), CPU, torch.float32, 1 << 28)
    plan = replace(denoiser.plan(90, 900), rows=2, side=8, batch=1)
    before, largest = 0.0, 0.0
    for fraction in denoiser.planned_steps(random_image(90, 900), 0.1, plan):
        largest, before = max(largest, fraction - before), fraction
    assert before == 1
    assert largest < 0.02


def test_each_panel_has_its_share_of_the_progress() -> None:
    denoiser = Denoiser(random_weights(1), CPU, torch.float32, 1 << 28)
    plan = replace(denoiser.plan(20, 700), panels=tuple(cut_panels(denoiser.footprint, 700, 500)))
    assert len(plan.panels) > 1
    fractions = list(denoiser.planned_steps(random_image(20, 700), 0.1, plan))
    assert fractions == sorted(set(fractions))
    assert fractions[-1] == 1
