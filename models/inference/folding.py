"""Layers in the form for inference: in their final dtype, with batch normalization folded into the convolutions."""

from dataclasses import dataclass

import torch
from torch import nn

from models.inference.convolution import Convolution
from models.networks.convolutions import fold_normalization
from models.networks.n3net import N3Block, N3BlockConfig


@dataclass(frozen=True)
class FoldedBlock:
    """An N3 block.

    Attributes:
        config: Its geometry.
        embed: The convolutions of the embedding network.
        temperature: The convolutions of the temperature network.
        distance_scale: Factor by which the batch normalization scales the squared distances.
        device: Device of all tensors.
        dtype: Data type of the convolutions and of the averages.
    """

    config: N3BlockConfig
    embed: tuple[Convolution, ...]
    temperature: tuple[Convolution, ...]
    distance_scale: float
    device: torch.device
    dtype: torch.dtype


def fold_block(block: N3Block, device: torch.device, dtype: torch.dtype) -> FoldedBlock:
    """Return an N3 block in the form for inference on a device, with convolutions in the given dtype."""
    norm = block.distance_norm
    assert norm.running_var is not None
    # A softmax depends only on differences of distances, so the shift of the normalization has no effect.
    scale = float(norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt())
    embed, temperature = (fold_convolutions(small, device, dtype) for small in (block.embed, block.temperature))
    return FoldedBlock(block.config, embed, temperature, scale, device, dtype)


def fold_convolutions(net: nn.Sequential, device: torch.device, dtype: torch.dtype) -> tuple[Convolution, ...]:
    """Return the convolutions of 3x3 convolutions, batch normalizations and ReLUs, in the given dtype."""
    with torch.no_grad():
        return tuple(
            Convolution(weight.to(device, dtype, memory_format=torch.channels_last), bias.to(device, dtype))
            for weight, bias in fold_normalization(net, torch.float64)
        )
