"""Tests of the networks for super-resolution: sizes, what they are told, gradients, configurations and training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.images.resize import enlarge
from models.networks.config import AnyConfig, parse_config, store_config
from models.networks.upscaling_net import FACTORS, EarlyUpscalingConfig, UpscalingConfig, UpscalingNet
from models.training.recipe import Recipe, RecipeError
from models.training.run import TrainingOptions, train
from models.weights.files import load_weights
from tests.support.image_folders import draw_pictures
from tests.support.training import TINY

SMALL = UpscalingConfig(features=6, embedding=5, window=5, k=3)
EARLY = EarlyUpscalingConfig(features=6, embedding=5, window=5, k=3, depth=2)
CONFIGS: tuple[UpscalingConfig | EarlyUpscalingConfig, ...] = (SMALL, replace(SMALL, position="none", levels=3), EARLY)


def network(config: UpscalingConfig = SMALL) -> UpscalingNet:
    torch.manual_seed(0)
    return config.build().double().eval()


def image(height: int = 31, width: int = 26) -> Tensor:
    return torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("height", "width"), [(31, 26), (1, 1), (3, 40)])
def test_every_size_is_enlarged(config: UpscalingConfig | EarlyUpscalingConfig, factor: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    net = config.build().double().eval()
    with torch.no_grad():
        enlarged = net(image(height, width), torch.tensor(0.1), factor)
    assert enlarged.shape == (2, 1, factor * height, factor * width)
    assert enlarged.isfinite().all()


@pytest.mark.parametrize("factor", FACTORS)
def test_a_network_whose_heads_are_zero_enlarges_bicubically(factor: int) -> None:
    net, small = network(), image()
    for parameter in net.heads.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(net(small, torch.tensor(0.1), factor), enlarge(small, factor))


def test_the_pixels_of_a_head_lie_where_the_small_image_has_its_pixels() -> None:
    """A head that copies the image, each pixel f x f times, returns the image enlarged by repetition."""
    net, small, factor = network(), image(32, 28), 3
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        # The trunk: its first four features are the four image planes.
        net.first.weight[range(4), range(4), 1, 1] = 1
        planes = torch.arange(36).view(6, 6)
        for row in range(6):
            for column in range(6):
                net.heads["3"].weight[planes[row, column], 2 * (row // 3) + column // 3, 1, 1] = 1  # type: ignore[operator]
        residual = net(small, torch.tensor(0.0), factor) - enlarge(small, factor)
    repeated = small.repeat_interleave(3, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(residual, repeated)


def test_the_network_is_told_the_noise_level_and_the_factor() -> None:
    net = network()
    with torch.no_grad():
        net.first.weight[:, :4] = 0
    features = []
    net.dec.register_forward_hook(lambda _module, _inputs, output: features.append(output))
    for sigma, factor in ((0.0, 2), (0.1, 2), (0.0, 4)):
        net(torch.zeros(1, 1, 40, 40, dtype=torch.float64), torch.tensor(sigma), factor)
    assert not torch.allclose(features[0], features[1])
    assert not torch.allclose(features[0], features[2])


@pytest.mark.parametrize("config", CONFIGS)
def test_every_parameter_is_trained_by_the_three_factors(config: UpscalingConfig | EarlyUpscalingConfig) -> None:
    torch.manual_seed(0)
    net = config.build().double().train()
    for factor in FACTORS:
        net(image(), torch.full((2, 1, 1, 1), 0.1, dtype=torch.float64), factor).square().mean().backward()
    untrained = {name for name, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0}
    # A softmax follows the batch normalization of the distances, so the shift of the normalization has no effect.
    assert all(name.endswith("distance_norm.bias") for name in untrained)


@pytest.mark.parametrize("config", CONFIGS)
def test_configurations_survive_storing(config: AnyConfig) -> None:
    assert parse_config(store_config(config)) == config


def test_invalid_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="1 channel and 1 noise plane"):
        UpscalingConfig.parse({"channels": 3})
    with pytest.raises(ValueError, match="has a sigma plane"):
        EarlyUpscalingConfig.parse({"sigma_plane": False})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


def test_training_beats_bicubic_enlargement(pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe(steps=150, crop=16, batch=4, factors=(2,), learning_rate=5e-3, sigma_range=(0, 1), ema=0.9)
    result = train([pictures], tmp_path / "run", recipe, TrainingOptions(device="cpu"), config=replace(SMALL, position="none"))
    assert result.gain > 0.3
    assert load_weights(result.weights).config == replace(SMALL, position="none")


def test_factors_are_for_networks_that_enlarge(pictures: Path, tmp_path: Path) -> None:
    for config, factors in ((TINY, (2,)), (SMALL, ())):
        with pytest.raises(RecipeError, match="factors are for networks that enlarge"):
            train([pictures], tmp_path / "run", Recipe(steps=1, crop=16, factors=factors), config=config)
