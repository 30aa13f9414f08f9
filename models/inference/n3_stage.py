"""An N3 block on a stream of rows, with a band of cell rows as high as the windows of a few rows of queries need.

Letters: C planes, K neighbors, n and m rows, W columns.
"""

from collections import deque
from collections.abc import Generator
from typing import Protocol

import torch
from torch import Tensor

from models.inference.blocked_block import BlockedDifferences
from models.inference.blocks import Span, spans
from models.inference.cell_band import CellBand, CellGrid
from models.inference.cut_plan import StripLayout
from models.inference.folding import FoldedBlock
from models.inference.fused_block import FusedDifferences
from models.inference.row_stages import ConvolutionStage, Feed, RowQueue


class Differences(Protocol):
    """A way to compute z_1 - x ... z_K - x for one span of patch rows after another."""

    @property
    def rows_above(self) -> int:
        """Number of cell rows above those of the next span that it needs again."""

    def complete(self, band: CellBand, rows: Span) -> Generator[int, None, Tensor]:
        """Yield the number of pixels done after each step, and return the rows of the image that the span completes."""


class EmbeddingStage:
    """The embedding and the log-temperature of the input of an N3 block, appended to it as planes."""

    def __init__(self, block: FoldedBlock, height: int, width: int) -> None:
        self.pixels = height * width
        self._embed, self._temperature = ConvolutionStage(block.embed), ConvolutionStage(block.temperature)
        self._waiting = RowQueue()

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows x (1, C, n, W), float32, to finished rows of x, its embedding and its log-temperature (1, 2 * C + 1, m, W)."""
        self._waiting.put(groups[0])
        embedded = self._embed.feed(groups, last=last)
        log_temperature = self._temperature.feed(groups, last=last)
        count, width = embedded.shape[2:]
        if not count:
            return (groups[0].new_empty(1, 2 * embedded.shape[1] + 1, 0, width),)
        yield count * width
        return (torch.cat((self._waiting.take(count), embedded.float(), log_temperature.float()), 1),)


class N3Stage:
    """An N3 block for one map of a given size."""

    def __init__(self, block: FoldedBlock, height: int, width: int, layout: StripLayout) -> None:
        config = block.config
        grid = CellGrid.cover(height, width, config.stride, layout.padding, layout.row_padding)
        self._embedding = EmbeddingStage(block, height, width)
        self.pixels = self._embedding.pixels + grid.patch_pixels * (grid.h - 1) * (grid.w - 1)
        self._inputs, self._completed = RowQueue(), RowQueue()
        self._band = CellBand(grid, block.device)
        self._spans = deque(spans(grid.h - 1, config.window, layout.side))
        self._differences: Differences = FusedDifferences(block) if layout.fused else BlockedDifferences(block, grid, layout)
        self._no_rows = torch.empty(1, config.k * config.planes, 0, width, dtype=block.dtype, device=block.device)

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows x (1, C, n, W), float32, to finished rows of x and of z_1 - x ... z_K - x (1, K * C, m, W)."""
        (rows,) = groups
        self._inputs.put(rows)
        (embedded,) = yield from self._embedding.feed(groups, last=last)
        self._band.put(embedded)
        while self._spans and self._band.fill(self._spans[0].item_cells.stop):
            self._completed.put((yield from self._differences.complete(self._band, self._spans.popleft())))
            if self._spans:
                self._band.drop(min(self._spans[0].first, self._spans[0].start) - self._differences.rows_above)
        if count := self._completed.rows:
            return self._inputs.take(count), self._completed.take(count)
        return rows[:, :, :0], self._no_rows
