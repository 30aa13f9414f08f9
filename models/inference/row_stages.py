"""Stages that process the rows of an image as they arrive: a queue, convolutions that keep the rows they need again, and chains.

A stage is fed rows in groups of planes (1, C, n, W) with n >= 0, and returns the rows that it could finish; with `last`, it
finishes all rows. It yields after each part of its work, so that nothing occupies the device for long.

Letters: C planes, n and m rows, W columns.
"""

from collections.abc import Generator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from models.inference.convolution import Convolution

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


class RowWindow:
    """The input of a 3x3 convolution: its last two rows, the new rows, and a row of zeros above and below the image."""

    def __init__(self) -> None:
        self._kept: Tensor | None = None

    def join(self, groups: tuple[Tensor, ...], dtype: torch.dtype, *, last: bool) -> Tensor:
        """Return the rows whose neighbors above and below are known, with these neighbors, (1, C, m + 2, W), channels-last."""
        kept = self._kept
        count, width = groups[0].shape[2:]
        before = 1 if kept is None else kept.shape[2]
        planes = [group.shape[1] for group in groups]
        shape = (1, sum(planes), before + count + last, width)
        window = torch.empty(shape, dtype=dtype, device=groups[0].device, memory_format=torch.channels_last)
        window[:, :, :before] = 0 if kept is None else kept
        for part, group in zip(window[:, :, before : before + count].split(planes, 1), groups, strict=True):
            part.copy_(group)
        if last:
            window[:, :, -1] = 0
        self._kept = None if last else window[:, :, -2:].clone(memory_format=torch.channels_last)
        return window


class ConvolutionStage:
    """Successive 3x3 convolutions with ReLU between them."""

    def __init__(self, convolutions: Sequence[Convolution], added: RowQueue | None = None) -> None:
        """Prepare the convolutions; rows from `added`, of their dtype, are added to the output of the last one."""
        self._convolutions, self._added = convolutions, added
        self._windows = [RowWindow() for _ in convolutions]

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Tensor:
        """Map rows, whose planes come in groups, to finished rows (1, C_out, m, W), in the dtype of the convolutions."""
        for index, (convolution, waiting) in enumerate(zip(self._convolutions, self._windows, strict=True), 1):
            window = waiting.join(groups, convolution.weight.dtype, last=last)
            count = window.shape[2] - 2
            if count < 1:
                rows = window.new_empty(1, convolution.planes, 0, window.shape[3])
            elif index < len(self._convolutions):
                rows = convolution(window, relu=True)
            else:
                rows = convolution(window, added=None if self._added is None else self._added.take(count))
            groups = (rows,)
        return groups[0]


class Chain:
    """Stages that follow each other.

    Attributes:
        pixels: See `Stage`. Each stage counts each pixel about once.
    """

    def __init__(self, stages: Sequence[Stage], rows: int) -> None:
        """Chain stages; each is fed at most `rows` rows at a time, because the one before it can finish many rows at once."""
        self._stages, self._rows = stages, rows
        self.pixels = sum(stage.pixels for stage in stages)

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Feed the first stage, and each further one with what the stage before it finishes."""
        return (yield from self._feed(0, groups, last=last))

    def _feed(self, index: int, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        if index == len(self._stages):
            return groups
        pieces = list(zip(*(group.split(self._rows, 2) for group in groups), strict=True))
        finished = []
        for number, piece in enumerate(pieces, 1):
            end = last and number == len(pieces)
            rows = yield from self._stages[index].feed(piece, last=end)
            finished.append((yield from self._feed(index + 1, rows, last=end)))
        return tuple(torch.cat(parts, 2) if len(parts) > 1 else parts[0] for parts in zip(*finished, strict=True))
