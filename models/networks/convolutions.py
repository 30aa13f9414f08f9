"""Stacks of 3x3 convolutions, batch normalization and ReLU, with a fast path for training with frozen normalization.

Letters: B batch, C planes, H x W pixels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolutions(nn.Sequential):
    """3x3 convolutions, batch normalizations and ReLUs, run in order.

    With frozen statistics, a batch normalization only scales and shifts each plane. When a CPU trains with frozen statistics,
    each step folds the normalizations into the convolutions and computes each ReLU together with the convolution before it.
    This takes two passes over memory instead of eight, and the gradients are the same up to rounding.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C_out, H, W)."""
        if not torch.compiler.is_compiling() and torch.is_grad_enabled() and self._can_fold(maps):
            return self._folded(maps)
        for layer in self:
            maps = layer(maps)
        return maps

    def _can_fold(self, maps: Tensor) -> bool:
        frozen = not any(isinstance(layer, nn.BatchNorm2d) and layer.training for layer in self)
        return frozen and runs_in_one_pass(maps.device, convolution_dtype(maps))

    def _folded(self, maps: Tensor) -> Tensor:
        dtype = convolution_dtype(maps)
        *first, (last_weight, last_bias) = fold_normalization(self, torch.float32)
        maps = maps.to(dtype)
        for weight, bias in first:
            maps = ConvolutionReLU.apply(maps, weight.to(dtype), bias.to(dtype))  # type: ignore[no-untyped-call]
        return functional.conv2d(maps, last_weight.to(dtype), last_bias.to(dtype), padding=1)


class ConvolutionReLU(torch.autograd.Function):
    """A zero-padded 3x3 convolution and ReLU in one pass, for the CPU."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C_out, H, W) with weight (C_out, C, 3, 3) and bias (C_out,), all of the same dtype."""
        ones = [1, 1]
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(maps, weight, bias, ones, ones, ones, 1, "relu", [], None)  # noqa: SLF001
        ctx.save_for_backward(maps, weight, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of maps, weight and bias. No gradient flows through outputs that are zero."""
        maps, weight, out = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradients[0], out, 0)
        ones, zeros, wanted = [1, 1], [0, 0], list(ctx.needs_input_grad)
        transposed = False
        through: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            gradient, maps, weight, [len(weight)], ones, ones, ones, transposed, zeros, 1, wanted
        )
        return through


def runs_in_one_pass(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether oneDNN computes a convolution of this dtype and the operation after it together."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return dtype == torch.float32 or (dtype == torch.bfloat16 and supported)


def convolution_dtype(maps: Tensor) -> torch.dtype:
    """Return the dtype in which a convolution of the maps runs: that of autocast if it is on, else that of the maps."""
    device = maps.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else maps.dtype


def fold_normalization(layers: nn.Sequential, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Fold batch normalizations, which use their running statistics, into the convolutions before them.

    Args:
        layers: 3x3 convolutions, batch normalizations and other layers. The latter are ignored.
        dtype: Data type of the computation and the result.

    Returns:
        The weight (C_out, C_in, 3, 3) and the bias (C_out,) of each convolution. Gradients flow to the parameters of the layers.
    """
    folded: list[tuple[Tensor, Tensor]] = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.to(dtype)
            folded.append((weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.to(dtype)))
        elif isinstance(layer, nn.BatchNorm2d):
            weight, bias = folded.pop()
            assert layer.running_mean is not None
            assert layer.running_var is not None
            scale = layer.weight.to(dtype) / (layer.running_var.to(dtype) + layer.eps).sqrt()
            shift = layer.bias.to(dtype) - layer.running_mean.to(dtype) * scale
            folded.append((weight * scale[:, None, None, None], bias * scale + shift))
    return folded
