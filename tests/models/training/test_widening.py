"""Widening: a wider network starts with the function of the narrow one, and learns with its new features."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from models.networks.n3unet import N3UNetConfig
from models.networks.noise_level_net import NoiseLevelConfig
from models.networks.upscaling_net import UpscalingConfig
from models.training.trainer import fresh_network
from models.training.widening import widen

NARROW = UpscalingConfig(features=8, position="none")


@pytest.mark.parametrize(
    ("levels", "changes"), [(2, {"features": 12}), (3, {"features": 12}), (3, {"coarse_features": (16, 40)})]
)
def test_a_wide_network_starts_with_the_function_of_a_narrow_one(levels: int, changes: dict[str, Any]) -> None:
    config = N3UNetConfig(features=8, planes=4, levels=levels, window=5, k=2)
    narrow = fresh_network(config.build, 0).eval()
    wide = fresh_network(replace(config, **changes).build, 1).eval()
    noisy, sigma = torch.rand(1, 1, 40, 48, generator=torch.Generator().manual_seed(0)), torch.tensor(0.1)
    assert not torch.allclose(wide(noisy, sigma), narrow(noisy, sigma), atol=1e-3)
    widen(wide, narrow.state_dict())
    torch.testing.assert_close(wide(noisy, sigma), narrow(noisy, sigma), atol=1e-5, rtol=0)


def test_inputs_may_have_other_places() -> None:
    """The cells of this network have its filters first, then the energies of the noise, and the three channels."""
    narrow = fresh_network(NoiseLevelConfig(filters=4, features=8).build, 0)
    wide = fresh_network(NoiseLevelConfig(filters=6, features=12).build, 1)
    widen(wide, narrow.state_dict(), {"first.0.0": [0, 1, 2, 3, 6, 7, 8, 9, 10]})
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide(picture).log_variances, narrow(picture).log_variances, atol=1e-5, rtol=0)


def test_new_features_learn() -> None:
    """Nothing reads the new features at first, but the weights that could read them have gradients."""
    narrow, wide = (fresh_network(replace(NARROW, features=features).build, features) for features in (8, 12))
    widen(wide, narrow.state_dict())
    head = wide.heads["2"]
    assert isinstance(head, nn.Conv2d)
    weight = head.weight
    assert not weight[:, 8:].any()
    wide(torch.rand(1, 1, 16, 16), torch.tensor(0.1), 2).square().sum().backward()
    assert weight.grad is not None
    assert (weight.grad[:, 8:] != 0).any()


@pytest.mark.parametrize("other", [replace(NARROW, features=4), replace(NARROW, levels=3)])
def test_networks_that_do_not_fit_are_refused(other: UpscalingConfig) -> None:
    with pytest.raises(ValueError, match=r"not wider|different layers"):
        widen(fresh_network(other.build, 0), fresh_network(NARROW.build, 0).state_dict())
