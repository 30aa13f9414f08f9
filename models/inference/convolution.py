"""A convolution in its final dtype, followed by ReLU or by a sum, in one pass over memory where the device offers it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.convolutions import runs_in_one_pass


@dataclass(frozen=True)
class Convolution:
    """A convolution of rows, which pads the columns of a 3x3 convolution with zeros, but not the rows.

    Attributes:
        weight: (C_out, C_in, 3, 3) or (C_out, C_in, 2, 2), channels-last.
        bias: (C_out,).
        stride: 1, or 2 for 2x2 convolutions.
    """

    weight: Tensor
    bias: Tensor
    stride: int = 1

    @property
    def planes(self) -> int:
        """Number of planes of the output."""
        return len(self.weight)

    def __call__(self, window: Tensor, *, relu: bool = False, added: Tensor | None = None) -> Tensor:
        """Convolve rows.

        Args:
            window: (1, C_in, n, W), channels-last, in the dtype of the weight.
            relu: Whether a ReLU follows.
            added: Is added to the output; of the same shape and dtype. Not together with `relu`.

        Returns:
            (1, C_out, m, W / stride), channels-last.
        """
        padding, strides = self._padding, [self.stride, self.stride]
        if not runs_in_one_pass(self.weight.device, self.weight.dtype):
            out = functional.conv2d(window, self.weight, self.bias, strides, padding)
            if relu:
                out.relu_()
            return out if added is None else out.add_(added)
        operation = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001 (PyTorch's own compiler calls it too)
        arguments = (self._packed, self.bias, padding, strides, [1, 1], 1)
        if added is not None:
            summed: Tensor = operation.binary(window, added, *arguments, "add", 1.0, None, [], None)
            return summed
        convolved: Tensor = operation(window, *arguments, "relu" if relu else "none", [], None)
        return convolved

    @property
    def _padding(self) -> list[int]:
        return [0, 1 if self.weight.shape[3] == 3 else 0]

    @cached_property
    def _packed(self) -> Tensor:
        """The weight in the order in which oneDNN wants it. Otherwise, each call would reorder it."""
        weight = self.weight.to_mkldnn()
        packed: Tensor = torch._C._nn.mkldnn_reorder_conv2d_weight(  # noqa: SLF001 (PyTorch's own compiler calls it too)
            weight, self._padding, [self.stride, self.stride], [1, 1], 1
        )
        return packed
