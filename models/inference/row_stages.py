"""Stages that process the rows of an image as they arrive: a queue, convolutions that keep the rows they need again, and DnCNN.

Letters: C planes, n and m rows, W columns.
"""

from collections.abc import Generator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from models.inference.folding import Convolution, FoldedDnCNN

Feed = Generator[int, None, tuple[Tensor, ...]]
"""The work on some rows. It yields the number of pixels done after each part of it, and returns the finished rows."""


class Stage(Protocol):
    """A part of the network that takes rows and returns finished rows.

    Attributes:
        pixels: The sum of all numbers that its work will yield.
    """

    pixels: int

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Take further rows and return those that are finished."""


class RowQueue:
    """A first-in, first-out queue of rows.

    Attributes:
        rows: Number of rows in the queue.
    """

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self.rows = 0

    def put(self, rows: Tensor) -> None:
        """Append rows (1, C, n, W)."""
        if rows.shape[2]:
            self._parts.append(rows)
            self.rows += rows.shape[2]

    def take(self, count: int) -> Tensor:
        """Remove and return the first `count` >= 1 rows."""
        taken = []
        self.rows -= count
        while count:
            part = self._parts.pop(0)
            if part.shape[2] > count:
                self._parts.insert(0, part[:, :, count:])
                part = part[:, :, :count]
            taken.append(part)
            count -= part.shape[2]
        return torch.cat(taken, 2) if len(taken) > 1 else taken[0]


class ConvolutionStage:
    """Successive 3x3 convolutions with ReLU between them. Each keeps the last two rows of its input."""

    def __init__(self, convolutions: tuple[Convolution, ...]) -> None:
        self._convolutions = convolutions
        self._kept: list[Tensor | None] = [None] * len(convolutions)

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Tensor:
        """Map rows, whose planes come in groups, to finished rows (1, C_out, m, W), in the dtype of the convolutions."""
        rows = groups[0]
        for index, convolution in enumerate(self._convolutions):
            weight = convolution.weight
            window = self._join(index, groups, weight.dtype, last=last)
            if window.shape[2] < 3:
                rows = window.new_empty(1, len(weight), 0, rows.shape[3])
            else:
                rows = functional.conv2d(window, weight, convolution.bias, padding=(0, 1))
            groups = (rows,)
        return rows

    def _join(self, index: int, groups: tuple[Tensor, ...], dtype: torch.dtype, *, last: bool) -> Tensor:
        """Return the input of a convolution: kept rows, new rows (after ReLU from the second layer on), and zeros at borders."""
        kept = self._kept[index]
        count, width = groups[0].shape[2:]
        before = 1 if kept is None else kept.shape[2]
        shape = (1, sum(group.shape[1] for group in groups), before + count + last, width)
        window = torch.empty(shape, dtype=dtype, device=groups[0].device, memory_format=torch.channels_last)
        window[:, :, :before] = 0 if kept is None else kept
        fresh = window[:, :, before : before + count]
        if index:  # apply ReLU while copying: one pass over memory instead of two
            torch.clamp_min(groups[0], 0, out=fresh)
        else:
            for part, group in zip(fresh.split([group.shape[1] for group in groups], 1), groups, strict=True):
                part.copy_(group)
        if last:
            window[:, :, -1] = 0
        self._kept[index] = None if last else window[:, :, -2:].clone(memory_format=torch.channels_last)
        return window


class DnCNNStage:
    """A DnCNN: convolutions, with the first planes of the input added to their output."""

    def __init__(self, net: FoldedDnCNN, height: int, width: int) -> None:
        self.pixels = height * width
        self._convolutions = ConvolutionStage(net.convolutions)
        self._residual = net.residual
        self._inputs = RowQueue()

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows to finished rows (1, C_out, m, W), float32."""
        self._inputs.put(groups[0][:, : self._residual])
        out = self._convolutions.feed(groups, last=last).float()
        if out.shape[2]:
            out[:, : self._residual] += self._inputs.take(out.shape[2])
            yield out.shape[2] * out.shape[3]
        return (out,)
