"""A trained network in the form for inference: convolutions in their final dtype, with batch normalization folded into them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.networks.convolutions import fold_normalization
from models.networks.n3net import DnCNN, N3Block, N3Net, N3NetConfig


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution.

    Attributes:
        weight: (C_out, C_in, 3, 3), channels-last.
        bias: (C_out,).
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class FoldedDnCNN:
    """A DnCNN.

    Attributes:
        convolutions: Its convolutions.
        residual: Number of first planes of the input that are added to the output.
    """

    convolutions: tuple[Convolution, ...]
    residual: int


@dataclass(frozen=True)
class FoldedBlock:
    """An N3 block.

    Attributes:
        embed: The convolutions of the embedding network.
        temperature: The convolutions of the temperature network.
        distance_scale: Factor by which the batch normalization scales the squared distances.
    """

    embed: tuple[Convolution, ...]
    temperature: tuple[Convolution, ...]
    distance_scale: float


@dataclass(frozen=True)
class FoldedNetwork:
    """A whole N3Net.

    Attributes:
        config: The network's configuration.
        dncnns: One more than there are N3 blocks.
        blocks: The N3 blocks.
        device: Device of all tensors.
        dtype: Data type of the convolutions.
    """

    config: N3NetConfig
    dncnns: tuple[FoldedDnCNN, ...]
    blocks: tuple[FoldedBlock, ...]
    device: torch.device
    dtype: torch.dtype


def fold(network: N3Net, device: torch.device, dtype: torch.dtype) -> FoldedNetwork:
    """Return a network in the form for inference on a device, with convolutions in the given dtype."""
    dncnns = []
    for net in network.dncnns:
        assert isinstance(net, DnCNN)
        dncnns.append(FoldedDnCNN(_convolutions(net, device, dtype), net.residual))
    blocks = []
    for block in network.blocks:
        assert isinstance(block, N3Block)
        norm = block.distance_norm
        assert norm.running_var is not None
        # A softmax depends only on differences of distances, so the shift of the normalization has no effect.
        scale = float(norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt())
        embed, temperature = (_convolutions(small, device, dtype) for small in (block.embed, block.temperature))
        blocks.append(FoldedBlock(embed, temperature, scale))
    return FoldedNetwork(network.config, tuple(dncnns), tuple(blocks), device, dtype)


def _convolutions(net: nn.Sequential, device: torch.device, dtype: torch.dtype) -> tuple[Convolution, ...]:
    with torch.no_grad():
        return tuple(
            Convolution(weight.to(device, dtype, memory_format=torch.channels_last), bias.to(device, dtype))
            for weight, bias in fold_normalization(net, torch.float64)
        )
