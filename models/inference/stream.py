"""N3Net on a stream of rows: each layer keeps the few rows its next ones need, so no map of the whole image ever exists.

Rows come in from the top, any number at a time, and go through all layers; what comes out, some rows later, is what the whole
image would have given, for each layer sees exactly the rows it would have seen. Nothing is computed twice, and what is held
grows with the width of the image alone. A stage is fed rows, groups of planes (1, C, n, W) with n >= 0, and returns those it
could finish; with `last` it finishes all. On its way it yields after each part of the work, so that nothing holds the device
long: queries of the N3 blocks come in whole spans of rows, which may be many times the rows that are fed at a time.

Letters: C planes, n rows, W columns, h x w cells, p x q patches, K neighbors, F values of a cell.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from models.inference.folding import FoldedBlock, FoldedDnCNN, FoldedNetwork
from models.inference.fused_block import fused_differences
from models.inference.row_stages import ConvolutionStage, RowQueue
from models.neighbors.selection import inference_weights
from models.networks import cells
from models.networks.cells import Span, SpanGroup
from models.networks.n3net import bounded_temperature, grid_padding


@dataclass(frozen=True)
class Shape:
    """How an image is cut; the result does not depend on it.

    Attributes:
        padding: Zeros left and right in the N3 blocks, so that the patches lie where they lie in the whole image.
        rows: Rows that a stage is fed at a time, at most.
        side: Queries along each side of a block of queries that share one matrix product.
        batch: Such blocks computed at a time.
        fused: Whether the N3 blocks run as one kernel (`models.inference.fused_block`) on `side` rows of queries at a time.
    """

    padding: tuple[int, int]
    rows: int
    side: int = 8
    batch: int = 8
    fused: bool = False


Feed = Generator[int, None, tuple[Tensor, ...]]
"""The work on some rows: yields the pixels done after each part of it, returns the rows that are finished."""


class Stage(Protocol):
    """Takes rows and returns finished rows.

    Attributes:
        pixels: The sum of all that it is going to yield.
    """

    pixels: int

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Take further rows and return those that are finished."""


class DnCNNStage:
    """A DnCNN: convolutions, and the first input planes added to the output."""

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


class N3Stage:
    """An N3 block: a band of cell rows, as many as the windows of a few query rows need.

    The values of a cell are ordered (row in the cell, column in the cell, plane), as they lie in channels-last memory.
    """

    def __init__(self, network: FoldedNetwork, block: FoldedBlock, height: int, width: int, shape: Shape) -> None:
        config = network.config
        self._config, self._dtype, self._fused = config, network.dtype, shape.fused
        self._embed, self._temperature = ConvolutionStage(block.embed), ConvolutionStage(block.temperature)
        self._distance_scale = block.distance_scale
        self._height, self._width, self._left = height, width, shape.padding[0]
        self._top, bottom = grid_padding(height, config.stride)
        self._h = (height + self._top + bottom) // config.stride
        self._w = (width + sum(shape.padding)) // config.stride
        self._strip_pixels = shape.rows * width
        self._patch_pixels = config.stride**2  # those of one patch that no other patch counts
        self.pixels = self._patch_pixels * (self._h - 1) * (self._w - 1)
        self._row_spans = list(cells.spans(self._h - 1, config.window, shape.side))
        self._column_groups = list(cells.groups(cells.spans(self._w - 1, config.window, shape.side), shape.batch))
        self._waiting, self._aligned, self._inputs, self._finished = RowQueue(), RowQueue(), RowQueue(), RowQueue()
        self._base = 0  # number of the first cell row that is held
        self._end = 0  # one past the number of the last
        self._maps = self._embedded = self._log_temperature = torch.empty(0, device=network.device)
        self._row_counts, self._column_counts = (cells.coverage(count, network.device) for count in (self._h, self._w))
        self._below: Tensor | None = None  # what the queries so far gave to the next cell row, (K, w, F)

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows x (1, C, n, W), float32, to finished rows of x and of z_1 - x ... z_K - x (1, K * C, m, W)."""
        (rows,) = groups
        self._waiting.put(rows)
        self._inputs.put(rows)
        embedded = self._embed.feed(groups, last=last)
        log_temperature = self._temperature.feed(groups, last=last)
        if count := embedded.shape[2]:
            self._aligned.put(torch.cat((self._waiting.take(count), embedded.float(), log_temperature.float()), 1))
        # Rows make whole cell rows with the zeros above the image, and at its end with those below.
        top = self._top if self._end == 0 else 0
        count = self._h - self._end if last else (top + self._aligned.rows) // self._config.stride
        # Only when there is enough for the next queries is it joined to the band, which is copied each time.
        if self._row_spans and self._end + count > self._row_spans[0].first + self._row_spans[0].items:
            self._cut(self._aligned.take(min(count * self._config.stride - top, self._aligned.rows)), count, top)
        while self._row_spans and self._end > self._row_spans[0].first + self._row_spans[0].items:
            yield from (self._query_fused if self._fused else self._query)(self._row_spans.pop(0))
            self._drop()
        if count := self._finished.rows:
            return self._inputs.take(count), self._finished.take(count)
        return rows[:, :, :0], rows.new_empty(1, self._config.planes * self._config.k, 0, self._width, dtype=self._dtype)

    def _cut(self, rows: Tensor, count: int, top: int) -> None:
        """Append rows as `count` cell rows (h, w, F) of the maps, of their embedding, and the cell means (h, w, 1) of log T."""
        planes, stride = self._config.planes, self._config.stride
        pixels = rows[0].permute(1, 2, 0)
        if pixels.shape[:2] != (count * stride, self._w * stride):
            pixels = pad(pixels, (count * stride, self._w * stride), top, self._left)
        grid = pixels.unflatten(1, (self._w, stride)).unflatten(0, (count, stride)).transpose(1, 2)  # (h, w, stride, stride, C)
        fresh = (grid[..., :planes], grid[..., planes : 2 * planes], grid[..., 2 * planes :].mean((2, 3)))
        held = (self._maps, self._embedded, self._log_temperature)
        self._maps, self._embedded, self._log_temperature = (
            torch.cat((old, new.flatten(2))) if self._end > self._base else new.flatten(2)
            for old, new in zip(held, fresh, strict=True)
        )
        self._end += count

    def _query(self, rows: Span) -> Iterator[int]:
        """Find the neighbors of a span of patch rows, and finish the cell rows that no later patch covers.

        A group of columns is finished before the next begins: its sums are still in the caches.
        """
        config, end = self._config, rows.stop == self._h - 1
        done = slice(rows.start, rows.stop + end)
        count = done.stop - done.start
        size = (1, config.k * config.planes, count * config.stride, self._w * config.stride)
        finished = torch.empty(size, dtype=self._dtype, device=self._maps.device, memory_format=torch.channels_last)
        below = self._maps.new_empty(config.k, self._w, self._maps.shape[-1])
        beside: Tensor | None = None  # what the groups so far gave to the next column of cells
        pixels = 0
        for group in self._column_groups:
            if pixels >= self._strip_pixels:
                yield pixels
                pixels = 0
            start, columns = group.first.start, group.count * group.first.queries
            last = start + columns == self._w - 1
            sums = self._maps.new_zeros(config.k, rows.queries + 1, columns + 1, self._maps.shape[-1])
            if self._below is not None:
                sums[:, 0] = self._below[:, start : start + columns + 1]
            if beside is not None:
                sums[:, :, 0] = beside  # the row above is in it
            cells.overlap_add(sums, self._neighbors(rows, group), group)
            beside = sums[:, :, -1]
            there = slice(start, start + columns + last)
            below[:, there] = sums[:, -1, : columns + last]
            counts = (self._row_counts[done].view(-1, 1, 1) * self._column_counts[there].view(-1, 1)).to(sums)
            differences = sums[:, :count, : columns + last].div_(counts).sub_(self._maps[self._held(done), there])
            self._place(differences, finished[..., there.start * config.stride : there.stop * config.stride])
            pixels += self._patch_pixels * rows.queries * columns
        self._below = None if end else below
        first = rows.start * config.stride - self._top  # image row at which the finished ones begin
        top, bottom = max(0, -first), min(count * config.stride, self._height - first)
        self._finished.put(finished[:, :, top:bottom, self._left : self._left + self._width])
        yield pixels

    def _place(self, differences: Tensor, pixels: Tensor) -> None:
        """Write cells (K, h, w, F) as the pixels (1, K * C, h * stride, w * stride), channels-last, that they are."""
        stride = self._config.stride
        k, h, w = differences.shape[:3]
        grid = differences.view(k, h, w, stride, stride, -1).permute(1, 3, 2, 4, 0, 5)
        pixels[0].permute(1, 2, 0).unflatten(2, (k, -1)).unflatten(1, (w, stride)).unflatten(0, (h, stride)).copy_(grid)

    def _query_fused(self, rows: Span) -> Iterator[int]:
        """Do what `_query` does with one kernel; the patches above the span that cover its first cells are computed again."""
        stride, end = self._config.stride, rows.stop == self._h - 1
        done = slice(rows.start, rows.stop + end)
        pixels = slice(max(done.start * stride, self._top), min(done.stop * stride, self._top + self._height))
        band = (self._maps, self._embedded, self._log_temperature)
        size, columns = (self._h, self._w), (self._left, self._width)
        self._finished.put(
            fused_differences(self._config, band, self._base, done, pixels, size, columns, self._distance_scale, self._dtype)
        )
        yield self._patch_pixels * rows.queries * (self._w - 1)

    def _drop(self) -> None:
        """Let go of the cell rows that no later patch needs; those of the patch row before the next span serve `_query_fused`."""
        if self._row_spans and (drop := min(self._row_spans[0].first, self._row_spans[0].start) - self._fused - self._base) > 0:
            self._base += drop
            self._maps, self._embedded, self._log_temperature = (
                band[drop:] for band in (self._maps, self._embedded, self._log_temperature)
            )

    def _held(self, rows: slice) -> slice:
        """Return where in the band the cell rows of these numbers lie."""
        return slice(rows.start - self._base, rows.stop - self._base)

    def _neighbors(self, rows: Span, group: SpanGroup) -> Tensor:
        """Return what the queries of some equal blocks give to the cells that they cover, (B, K, p + 1, q + 1, F)."""
        columns = group.first
        query_rows = self._held(slice(rows.start, rows.stop + 1))
        item_rows = self._held(slice(rows.first, rows.first + rows.items + 1))
        distances = cells.block_distances(
            group.queries(self._embedded[query_rows]), group.items(self._embedded[item_rows]), rows, columns
        )
        batch, p, q, u, v = distances.shape
        distances = distances.view(batch, p * q, u * v)
        own = torch.tensor([row * v + column for row in rows.own() for column in columns.own()], device=distances.device)
        distances.scatter_(2, own.view(1, -1, 1).expand(batch, -1, 1), torch.inf)
        temperature = self._temperatures(group.queries(self._log_temperature[query_rows]))
        weights = inference_weights(
            distances.mul_(self._distance_scale), temperature.view(batch, p * q, 1), self._config.k, self._config.relaxation
        )
        items = group.items(self._maps[item_rows]).to(self._dtype)
        return cells.block_aggregate(weights.view(batch, -1, p, q, u, v), items, rows, columns)

    def _temperatures(self, log_temperature: Tensor) -> Tensor:
        """Return the temperatures (B, p, q) of patches from the cell means (B, p + 1, q + 1, 1) of the log-temperature."""
        mean = functional.avg_pool2d(log_temperature.squeeze(-1), 2, 1)
        return bounded_temperature(mean, self._config.block)


def pad(pixels: Tensor, size: tuple[int, int], top: int, left: int) -> Tensor:
    """Put pixels (n, W, C) into zeros (*size, C); the zeros alone, not all of it, are cleared."""
    padded = pixels.new_empty(*size, pixels.shape[2])
    rows, columns = slice(top, top + len(pixels)), slice(left, left + pixels.shape[1])
    padded[rows, columns] = pixels
    padded[: rows.start], padded[rows.stop :] = 0, 0
    padded[:, : columns.start], padded[:, columns.stop :] = 0, 0
    return padded


class NetworkStage:
    """A whole N3Net for one image of a given size.

    Attributes:
        pixels: The sum of all that it is going to yield; each pixel counts once for each of the network's parts.
    """

    def __init__(self, network: FoldedNetwork, height: int, width: int, shape: Shape) -> None:
        self._stages: list[Stage] = [DnCNNStage(network.dncnns[0], height, width)]
        for block, dncnn in zip(network.blocks, network.dncnns[1:], strict=True):
            self._stages += [N3Stage(network, block, height, width, shape), DnCNNStage(dncnn, height, width)]
        self.pixels = sum(stage.pixels for stage in self._stages)
        self._rows = shape.rows

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map noisy rows (1, 1, n, W), with the sigma plane as a second group, to one group of denoised rows (1, 1, m, W)."""
        return (yield from self._feed(0, groups, last=last))

    def _feed(self, index: int, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Feed the stages from this one on, few rows at a time: an N3 block finishes many at once."""
        if index == len(self._stages):
            return groups
        pieces = list(zip(*(group.split(self._rows, 2) for group in groups), strict=True))
        finished = []
        for number, piece in enumerate(pieces, 1):
            end = last and number == len(pieces)
            rows = yield from self._stages[index].feed(piece, last=end)
            finished.append((yield from self._feed(index + 1, rows, last=end)))
        return tuple(torch.cat(parts, 2) if len(parts) > 1 else parts[0] for parts in zip(*finished, strict=True))
