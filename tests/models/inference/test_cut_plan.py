"""The smallest memory budget with which an image is not cut into many narrow panels of thin strips."""

from typing import Any

import pytest

from models.inference.cut_plan import CUDA_BATCH, CUDA_STRIP_PIXELS, LEAST_ROWS, LEAST_WIDTH, least_budget, make_plan
from models.inference.denoiser import Denoiser
from models.inference.footprint import footprint
from models.networks.config import NetworkConfig
from models.networks.n3net import N3NetConfig
from models.networks.n3unet import N3UNetConfig
from models.networks.upscaling_net import UpscalingConfig
from tests.support.networks import SMALL

MIB = 1 << 20


@pytest.mark.parametrize(
    "device",
    [{}, {"strip_pixels": CUDA_STRIP_PIXELS, "batch": CUDA_BATCH}, {"strip_pixels": CUDA_STRIP_PIXELS, "fused": True}],
    ids=["cpu", "cuda", "fused"],
)
@pytest.mark.parametrize(
    "config",
    [N3NetConfig(), N3NetConfig(blocks=0), N3NetConfig(**SMALL), N3UNetConfig(), UpscalingConfig()],
    ids=["n3net", "dncnn", "small", "n3unet", "upscale"],
)
def test_no_budget_from_the_smallest_on_cuts_panels_or_thin_strips(config: NetworkConfig, device: dict[str, Any]) -> None:
    least = least_budget(footprint(config), **device)
    columns = LEAST_WIDTH // footprint(config).scale
    assert least % MIB == 0
    for budget in range(least, least + 1024 * MIB, MIB):
        plan = make_plan(footprint(config), columns, columns, budget, **device)
        assert len(plan.panels) == 1
        assert plan.rows >= LEAST_ROWS
    if least > MIB:
        below = make_plan(footprint(config), columns, columns, least - MIB, **device)
        assert len(below.panels) > 1 or below.rows < LEAST_ROWS


def test_a_smaller_budget_is_refused_with_the_number() -> None:
    least = Denoiser.load(device="cpu").least_budget
    with pytest.raises(ValueError, match=f"the memory budget must be at least {least // MIB} MiB"):
        Denoiser.load(device="cpu", memory_budget=least - 1)
    assert Denoiser.load(device="cpu", memory_budget=least).memory_budget == least


def test_a_network_without_blocks_needs_less() -> None:
    assert least_budget(footprint(N3NetConfig(blocks=0))) < least_budget(footprint(N3NetConfig())) / 4
