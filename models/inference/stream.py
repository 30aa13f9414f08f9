"""N3Net on a stream of rows. Each layer keeps only the rows that it needs again, so no map of the whole image ever exists.

Rows enter at the top of the image, any number at a time, and pass through all layers. What comes out some rows later is exactly
what the whole image would have given, because each layer sees the same rows. The memory grows only with the width of the image.

A stage is fed rows in groups of planes (1, C, n, W) with n >= 0, and returns the rows that it could finish; with `last`, it
finishes all rows. It yields after each part of its work, so that nothing occupies the device for long: the queries of an N3 block
come in whole spans of rows, which can be many times the rows that are fed at a time.

Letters: C planes, n and m rows, W columns.
"""

import torch
from torch import Tensor

from models.inference.cut_plan import StripLayout
from models.inference.folding import FoldedNetwork
from models.inference.n3_stage import N3Stage
from models.inference.row_stages import DnCNNStage, Feed, Stage


class NetworkStage:
    """A whole N3Net for one image of a given size.

    Attributes:
        pixels: The sum of all numbers that its work will yield. Each part of the network counts each pixel about once.
    """

    def __init__(self, network: FoldedNetwork, height: int, width: int, layout: StripLayout) -> None:
        self._stages: list[Stage] = [DnCNNStage(network.dncnns[0], height, width)]
        for block, dncnn in zip(network.blocks, network.dncnns[1:], strict=True):
            self._stages += [N3Stage(network, block, height, width, layout), DnCNNStage(dncnn, height, width)]
        self.pixels = sum(stage.pixels for stage in self._stages)
        self._rows = layout.rows

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map noisy rows (1, 1, n, W), with the sigma plane as a second group, to one group of denoised rows (1, 1, m, W)."""
        return (yield from self._feed(0, groups, last=last))

    def _feed(self, index: int, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Feed the stages from `index` on, a few rows at a time, because an N3 block finishes many rows at once."""
        if index == len(self._stages):
            return groups
        pieces = list(zip(*(group.split(self._rows, 2) for group in groups), strict=True))
        finished = []
        for number, piece in enumerate(pieces, 1):
            end = last and number == len(pieces)
            rows = yield from self._stages[index].feed(piece, last=end)
            finished.append((yield from self._feed(index + 1, rows, last=end)))
        return tuple(torch.cat(parts, 2) if len(parts) > 1 else parts[0] for parts in zip(*finished, strict=True))
