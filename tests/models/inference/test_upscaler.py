"""Tests that an UpscalingNet gives the dense result, no matter how an image is cut, and of what an Upscaler refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.inference import transfers
from models.inference.cut_plan import Plan, cut_panels, make_plan
from models.inference.denoiser import Denoiser
from models.inference.upscaler import Upscaler
from models.networks.config import DEFAULT_CONFIGS
from models.networks.upscaling_net import FACTORS
from models.steps import run_through
from models.weights.files import WeightsError, save_weights
from tests.support.networks import random_image, random_unet, random_upscaling_net

CPU = torch.device("cpu")
VARIANTS: dict[str, dict[str, Any]] = {
    "decoder": {"position": "decoder"},
    "both, three levels": {"position": "both", "levels": 3},
    "none": {"position": "none"},
}
SIGMA = 0.05


def upscaler(dtype: torch.dtype = torch.float32, **changes: Any) -> Upscaler:
    return Upscaler(random_upscaling_net(1, **changes), CPU, dtype, 1 << 28)


def assert_same(image: torch.Tensor, reference: torch.Tensor) -> None:
    assert image.shape == reference.shape
    assert reference.std() > 0.1, "an error of a part of the image would not be seen"
    assert (image - reference).abs().max() <= 1e-5


CASES = [(variant, factor) for variant in VARIANTS for factor in FACTORS if variant == "decoder" or factor == 3]


@pytest.mark.parametrize(("variant", "factor"), CASES)
@pytest.mark.parametrize("size", [(40, 48), (29, 61), (50, 11), (1, 1)])
def test_strips_of_any_height_give_the_dense_result(size: tuple[int, int], variant: str, factor: int) -> None:
    model = upscaler(**VARIANTS[variant])
    noisy = random_image(*size)
    with torch.no_grad():
        reference = model.weights.network()(noisy[None, None], torch.tensor(SIGMA), factor)[0, 0]
    panels = model.plan(*size).panels
    for rows, side, batch in ((1, 1, 1), (7, 4, 3), (1000, 8, 8)):
        assert_same(run_through(model._steps(noisy, SIGMA, factor, Plan(panels, rows, side, batch))), reference)


@pytest.mark.slow
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(40, 3000), (1201, 97), (321, 481)])
def test_long_pictures_do_not_depend_on_the_strips(size: tuple[int, int], factor: int) -> None:
    model, noisy = upscaler(), random_image(*size)
    panels = model.plan(*size).panels
    one, many = (
        run_through(model._steps(noisy, SIGMA, factor, Plan(panels, rows, side, batch)))
        for rows, side, batch in ((1 << 20, 8, 8), (1, 4, 1))
    )
    assert_same(many, one)


@pytest.mark.parametrize(("variant", "factor"), CASES)
def test_panels_give_the_whole_result(variant: str, factor: int) -> None:
    model = upscaler(**VARIANTS[variant])
    noisy = random_image(21, 603)
    whole, columns = model.upscale(noisy, SIGMA, factor), model.plan(21, 603).panels[-1].stop
    for widest in (1, 220):
        panels = tuple(cut_panels(model.footprint, columns, widest))
        assert len(panels) > 1
        assert_same(run_through(model._steps(noisy, SIGMA, factor, Plan(panels, 9, 8, 4))), whole)


def test_a_cut_reaches_as_far_as_the_plan_says_and_not_much_farther() -> None:
    for variant in VARIANTS.values():
        model = upscaler(**variant)
        halo = 2 * model.footprint.reach
        noisy = random_image(24, 3 * halo)
        other = noisy.clone()
        other[:, 0] += 1
        difference = model.upscale(noisy, SIGMA, 2) != model.upscale(other, SIGMA, 2)
        changed = difference.any(0).nonzero().max() // 2
        assert halo - 60 < changed < halo


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(41, 37), (1, 1), (2, 70), (70, 1)])
def test_the_residual_is_added_to_what_pillow_enlarges(
    size: tuple[int, int], factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "ENLARGED_PIXELS", 150)  # so that the image is enlarged in several pieces
    weights = random_upscaling_net(1)
    state = {name: torch.zeros_like(value) if name.startswith("heads") else value for name, value in weights.state.items()}
    state[f"heads.{factor}.bias"] += 0.25
    weights.state.update(state)
    noisy = random_image(*size)
    enlarged = Image.fromarray(noisy.numpy()).resize([factor * side for side in reversed(size)], Image.Resampling.BICUBIC)
    result = Upscaler(weights, CPU, torch.float32, 1 << 28).upscale(noisy, SIGMA, factor)
    np.testing.assert_allclose(result.numpy(), np.asarray(enlarged) + np.float32(0.25), atol=3e-5)


def test_the_result_is_not_clipped_and_stays_on_the_cpu_in_float32() -> None:
    enlarged = upscaler().upscale(random_image(30, 30) * 4 - 2, SIGMA, 2)
    assert enlarged.abs().max() > 1
    assert (enlarged.device, enlarged.dtype) == (CPU, torch.float32)


def test_progress_rises_to_one_in_many_steps() -> None:
    model = upscaler()
    plan = make_plan(model.footprint, 30, 50, 1, strip_pixels=100)
    fractions = list(model._steps(random_image(60, 100), SIGMA, 2, plan))
    assert fractions == sorted(set(fractions))
    assert fractions[-1] == 1
    assert max(after - before for before, after in zip([0.0, *fractions], fractions, strict=False)) < 0.05


def test_images_can_be_interleaved_and_stopped() -> None:
    model = upscaler()
    images = {factor: random_image(60, 50, factor) for factor in FACTORS}
    expected = {factor: model.upscale(image, SIGMA, factor) for factor, image in images.items()}
    abandoned = model.steps(images[2], SIGMA, 2)
    next(abandoned)
    abandoned.close()
    running = {factor: model.steps(image, SIGMA, factor, shrink=2) for factor, image in images.items()}
    results = {}
    while running:
        for factor in list(running):
            try:
                next(running[factor])
            except StopIteration as stop:
                results[factor] = stop.value
                del running[factor]
    for factor, image in expected.items():
        assert_same(results[factor], image)


def test_bfloat16_stays_close() -> None:
    noisy = random_image(64, 64)
    half, exact = (upscaler(dtype).upscale(noisy, SIGMA, 3) for dtype in (torch.bfloat16, torch.float32))
    assert 0 < (half - exact).abs().mean() < 0.02 * exact.abs().mean()


@pytest.mark.parametrize(
    ("noisy", "sigma", "factor", "message"),
    [
        (torch.zeros(3, 4, 4), 0.0, 2, "an image must be"),
        (torch.zeros(0, 4), 0.0, 2, "an image must be"),
        (torch.zeros(4, 4, dtype=torch.float64), 0.0, 2, "an image must be"),
        (torch.zeros(4, 4), 0.2, 2, "sigma must lie between 0 and 25"),
        (torch.zeros(4, 4), float("nan"), 2, "sigma must lie between 0 and 25"),
        (torch.zeros(4, 4), 0.0, 5, "the factor must be one of 2, 3, 4, but is 5"),
    ],
)
def test_what_cannot_be_enlarged_is_rejected_at_once(noisy: torch.Tensor, sigma: float, factor: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upscaler().steps(noisy, sigma, factor)


@pytest.fixture
def upscaling_file(tmp_path: Path) -> Path:
    weights, path = random_upscaling_net(1), tmp_path / "upscale.safetensors"
    save_weights(path, weights.config, weights.state, weights.sigma_range, {"data": "none"})
    return path


def test_a_file_is_loaded_with_the_facts_about_it(upscaling_file: Path) -> None:
    model = Upscaler.load(upscaling_file, "cpu", "float32")
    info = model.info
    assert (info.name, info.weights, info.channels, info.sigma_range) == ("upscale", "upscale", 1, (0.0, 25.0))
    assert (info.facts, info.smallest_side) == ({"data": "none"}, model.smallest_side)
    noisy = random_image(20, 30)
    assert torch.equal(model.upscale(noisy, SIGMA, 4), upscaler().upscale(noisy, SIGMA, 4))


def test_a_budget_that_is_too_small_is_refused_with_the_number(upscaling_file: Path) -> None:
    least = Upscaler.load(upscaling_file, "cpu", "float32").least_budget
    with pytest.raises(ValueError, match=f"the memory budget must be at least {least >> 20} MiB"):
        Upscaler.load(upscaling_file, "cpu", "float32", least - 1)
    assert not Upscaler.load(upscaling_file, "cpu", "float32", least).can_shrink
    assert Upscaler.load(upscaling_file, "cpu", "float32", 2 * least).can_shrink


def test_each_model_refuses_the_weights_of_another(upscaling_file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the weights upscale enlarge images and cannot denoise"):
        Denoiser.load(upscaling_file, "cpu")
    unet = random_unet(1)
    save_weights(tmp_path / "unet.safetensors", unet.config, unet.state, unet.sigma_range, {})
    with pytest.raises(WeightsError, match="the weights unet remove noise and cannot enlarge images"):
        Upscaler.load(tmp_path / "unet.safetensors", "cpu")
    for name, message in (("noise-level", "estimate noise"), ("upscale-early", "are for evaluation only")):
        config, path = DEFAULT_CONFIGS[name], tmp_path / f"{name}.safetensors"
        save_weights(path, config, config.build().state_dict(), (0, 25), {})
        for model, work in ((Upscaler, "enlarge images"), (Denoiser, "denoise")):
            with pytest.raises(WeightsError, match=f"the weights {name} {message} and cannot {work}"):
                model.load(path, "cpu")
