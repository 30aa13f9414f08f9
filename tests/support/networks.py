"""Small networks with random weights and a test image, for tests that compare numbers and do not depend on quality."""

from typing import Any

import torch
from torch import nn

from models.networks.n3net import N3Net, N3NetConfig
from models.networks.n3unet import N3UNet, N3UNetConfig
from models.networks.upscaling_net import UpscalingConfig
from models.weights.files import Weights

SMALL: dict[str, Any] = {"features": 6, "depth": 3, "planes": 3, "embedding": 5, "window": 5, "k": 3}

SMALL_UNET: dict[str, Any] = {"features": 6, "planes": 5, "embedding": 5, "window": 5, "k": 3}


def random_network(seed: int = 0, **changes: Any) -> N3Net:
    """Return a small N3Net with random weights in evaluation mode."""
    network = N3Net(N3NetConfig(**{**SMALL, **changes}))
    randomize(network, seed)
    return network.eval()


def random_unet(seed: int = 0, **changes: Any) -> Weights:
    """Return the weights of a small N3UNet, all random, for sigma from 0 to 75."""
    network = N3UNet(N3UNetConfig(**{**SMALL_UNET, **changes}))
    randomize(network, seed)
    return Weights("random", network.config, (0.0, 75.0), {}, "0" * 64, network.state_dict())


def random_upscaling_net(seed: int = 0, **changes: Any) -> Weights:
    """Return the weights of a small UpscalingNet, all random, for sigma from 0 to 25."""
    config = UpscalingConfig(**{**SMALL_UNET, **changes})
    network = config.build()
    randomize(network, seed)
    return Weights("random", config, (0.0, 25.0), {}, "0" * 64, network.state_dict())


def randomize(network: nn.Module, seed: int) -> None:
    """Make all weights of a network random, also those of the batch normalizations.

    The distances are so small that the code form does not saturate; where it does, it differs from an exact oracle.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("distance_norm.weight"):
                tensor.uniform_(0.02, 0.05, generator=generator)
            elif name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.is_floating_point():
                fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 16
                tensor.normal_(
                    0,
                    (2 / fan) ** 0.5 * (0.3 if any(part in name for part in (".6.", ".b.", "up", "join", "head")) else 1.0),
                    generator=generator,
                )


def random_weights(seed: int = 0, **changes: Any) -> Weights:
    """Return the weights of a `random_network`, for sigma from 0 to 75."""
    network = random_network(seed, **changes)
    return Weights("random", network.config, (0.0, 75.0), {}, "0" * 64, network.state_dict())


def random_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Return an image (H, W) of smooth waves with noise."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    smooth = 0.5 + 0.3 * torch.sin(rows / 7) * torch.cos(columns / 11)
    return smooth + 0.1 * torch.randn(height, width, generator=generator)
