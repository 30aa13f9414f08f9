"""N3Net on a stream of rows: each layer keeps the few rows its next ones need, so no map of the whole image ever exists.

Rows come in from the top, any number at a time, and go through all layers; what comes out, some rows later, is what the whole
image would have given, for each layer sees exactly the rows it would have seen. Nothing is computed twice, and what is held
grows with the width of the image alone. A stage is fed rows (1, C, n, W), n >= 0, and returns those it could finish; with `last`
it finishes all.

Letters: C planes, n rows, W columns, h x w cells, p x q patches, K neighbours, F values of a cell.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from models import cells
from models.cells import Span
from models.folding import Convolution, FoldedBlock, FoldedDnCNN, FoldedNetwork
from models.n3net import LOG_TEMPERATURE_OFFSET, grid_padding
from models.neighbors import inference_weights


@dataclass(frozen=True)
class Shape:
    """How an image is cut; the result does not depend on it.

    Attributes:
        padding: Zeros left and right in the N3 blocks, so that the patches lie where they lie in the whole image.
        side: Queries along each side of a block of queries that share one matrix product.
        batch: Such blocks computed at a time.
    """

    padding: tuple[int, int]
    side: int = 8
    batch: int = 8


class Stage(Protocol):
    """Takes rows and returns finished rows."""

    def feed(self, rows: Tensor, *, last: bool) -> Tensor:
        """Take further rows (1, C, n, W) and return those that are finished."""


class RowQueue:
    """Rows that wait until a later stage asks for as many."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self.rows = 0

    def put(self, rows: Tensor) -> None:
        """Append rows (1, C, n, W)."""
        if rows.shape[2]:
            self._parts.append(rows)
            self.rows += rows.shape[2]

    def take(self, count: int) -> Tensor:
        """Remove and return the first `count` rows, at least one."""
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
    """Successive 3x3 convolutions with ReLU between them; each keeps its last two input rows."""

    def __init__(self, convolutions: tuple[Convolution, ...]) -> None:
        self._convolutions = convolutions
        self._dtype = convolutions[0].weight.dtype
        self._kept: list[Tensor | None] = [None] * len(convolutions)

    def feed(self, rows: Tensor, *, last: bool) -> Tensor:
        """Map rows (1, C_in, n, W) to finished rows (1, C_out, m, W), in the dtype of the convolutions."""
        for index, convolution in enumerate(self._convolutions):
            window = self._join(index, rows, last=last)
            if window.shape[2] < 3:
                rows = rows.new_empty(1, len(convolution.weight), 0, rows.shape[3], dtype=self._dtype)
            else:
                rows = functional.conv2d(window, convolution.weight, convolution.bias, padding=(0, 1))
        return rows

    def _join(self, index: int, rows: Tensor, *, last: bool) -> Tensor:
        """Put the kept rows, the new ones (after ReLU from the second layer on) and the zeros beyond the borders together."""
        kept = self._kept[index]
        planes, count, width = rows.shape[1:]
        before = 1 if kept is None else kept.shape[2]
        shape = (1, planes, before + count + last, width)
        window = torch.empty(shape, dtype=self._dtype, device=rows.device, memory_format=torch.channels_last)
        window[:, :, :before] = 0 if kept is None else kept
        if index:  # ReLU on the way: one pass over memory in place of two
            torch.clamp_min(rows, 0, out=window[:, :, before : before + count])
        else:
            window[:, :, before : before + count] = rows
        if last:
            window[:, :, -1] = 0
        self._kept[index] = None if last else window[:, :, -2:].clone(memory_format=torch.channels_last)
        return window


class DnCNNStage:
    """A DnCNN: convolutions, and the first input planes added to the output."""

    def __init__(self, net: FoldedDnCNN) -> None:
        self._convolutions = ConvolutionStage(net.convolutions)
        self._residual = net.residual
        self._inputs = RowQueue()

    def feed(self, rows: Tensor, *, last: bool) -> Tensor:
        """Map rows (1, C_in, n, W) to finished rows (1, C_out, m, W), float32."""
        self._inputs.put(rows[:, : self._residual])
        out = self._convolutions.feed(rows, last=last).float()
        if out.shape[2]:
            out[:, : self._residual] += self._inputs.take(out.shape[2])
        return out


class N3Stage:
    """An N3 block: a band of cell rows, as many as the windows of a few query rows need."""

    def __init__(self, network: FoldedNetwork, block: FoldedBlock, height: int, width: int, shape: Shape) -> None:
        config = network.config
        self._config, self._dtype, self._batch = config, network.dtype, shape.batch
        self._embed, self._temperature = ConvolutionStage(block.embed), ConvolutionStage(block.temperature)
        self._distance_scale = block.distance_scale
        self._height, self._width, self._left = height, width, shape.padding[0]
        self._side_padding = shape.padding
        self._top, self._bottom = grid_padding(height, config.stride)
        self._h = (height + self._top + self._bottom) // config.stride
        self._w = (width + sum(shape.padding)) // config.stride
        self._row_spans = list(cells.spans(self._h - 1, config.window, shape.side))
        self._column_spans = list(cells.spans(self._w - 1, config.window, shape.side))
        self._waiting, self._padded, self._inputs = RowQueue(), RowQueue(), RowQueue()
        self._finished = RowQueue()
        self._started = False
        self._base = 0  # number of the first cell row that is still held
        self._maps = self._embedded = self._log_temperature = torch.empty(0)
        self._sums: Tensor | None = None  # what the queries so far gave to the next cell row

    def feed(self, rows: Tensor, *, last: bool) -> Tensor:
        """Map rows (1, C, n, W), float32, to finished rows (1, C + K * C, m, W), float32."""
        self._waiting.put(rows)
        self._inputs.put(rows)
        embedded = self._embed.feed(rows, last=last)
        log_temperature = self._temperature.feed(rows, last=last)
        if count := embedded.shape[2]:
            self._pad(torch.cat((self._waiting.take(count), embedded.float(), log_temperature.float()), 1), last=last)
        if count := self._padded.rows // self._config.stride:
            self._cut(self._padded.take(count * self._config.stride))
        while self._row_spans and self._base + len(self._maps) > self._row_spans[0].first + self._row_spans[0].items:
            self._query(self._row_spans.pop(0))
        return self._join(rows)

    def _pad(self, rows: Tensor, *, last: bool) -> None:
        top, bottom = (0 if self._started else self._top), (self._bottom if last else 0)
        self._started = True
        self._padded.put(functional.pad(rows, (*self._side_padding, top, bottom)))

    def _cut(self, rows: Tensor) -> None:
        """Append padded rows as cell rows (h, w, F) of the maps, of their embedding, and the cell means (h, w, 1) of log T."""
        planes, stride = self._config.planes, self._config.stride
        maps = cells.to_cells(rows[:, :planes], stride)[0].contiguous()
        embedded = cells.to_cells(rows[:, planes : 2 * planes], stride)[0].contiguous()
        log_temperature = functional.avg_pool2d(rows[:, 2 * planes :], stride)[0, 0].unsqueeze(-1)
        if len(self._maps):
            maps = torch.cat((self._maps, maps))
            embedded = torch.cat((self._embedded, embedded))
            log_temperature = torch.cat((self._log_temperature, log_temperature))
        self._maps, self._embedded, self._log_temperature = maps, embedded, log_temperature

    def _query(self, rows: Span) -> None:
        """Find the neighbours of a span of patch rows, and finish the cell rows that no later patch covers."""
        config = self._config
        k, values = config.k, self._maps.shape[-1]
        sums = self._maps.new_zeros(rows.queries + 1, self._w, k, values)
        if self._sums is not None:
            sums[0] = self._sums
        queries = slice(rows.start - self._base, rows.stop + 1 - self._base)
        items = slice(rows.first - self._base, rows.first + rows.items + 1 - self._base)
        for group in batches(self._column_spans, self._batch):
            columns = group[0]
            summed = self._neighbors(queries, items, rows, group)  # (B, K, p + 1, q + 1, F)
            width = columns.queries
            for index, span in enumerate(group):  # neighbouring blocks share a column of cells
                sums[:, span.start : span.start + width + 1] += summed[index].permute(1, 2, 0, 3)
        end = rows.stop == self._h - 1
        done = rows.queries + end
        self._sums = None if end else sums[-1]
        counts = cells.coverage(self._h, self._w, sums)[rows.start : rows.start + done].unsqueeze(-1)
        start = rows.start - self._base
        differences = sums[:done] / counts - self._maps[start : start + done].unsqueeze(2)
        self._keep(rows, differences)
        if self._row_spans and (drop := min(self._row_spans[0].first, self._row_spans[0].start) - self._base) > 0:
            self._base += drop
            self._maps, self._embedded, self._log_temperature = (
                part[drop:] for part in (self._maps, self._embedded, self._log_temperature)
            )

    def _neighbors(self, query_rows: slice, item_rows: slice, rows: Span, group: list[Span]) -> Tensor:
        """Return what the queries of some equal blocks give to the cells that they cover, (B, K, p + 1, q + 1, F)."""
        columns = group[0]

        def cut(band: Tensor, start: int, count: int) -> Tensor:  # (B, rows, count, F), blocks one `queries` after the other
            step = columns.queries if columns.slides else 0
            return torch.stack([band[:, start + step * index : start + step * index + count] for index in range(len(group))])

        item_columns = columns.items + 1
        distances = cells.block_distances(
            cut(self._embedded[query_rows], columns.start, columns.queries + 1),
            cut(self._embedded[item_rows], columns.first, item_columns),
            rows,
            columns,
        )  # (B, p, q, u, v)
        batch, p, q, u, v = distances.shape
        own = torch.tensor([row * v + column for row in rows.own() for column in columns.own()], device=distances.device)
        distances = distances.view(batch, p * q, u * v)
        distances.scatter_(2, own.view(1, -1, 1).expand(batch, -1, 1), torch.inf)
        temperature = self._temperatures(cut(self._log_temperature[query_rows], columns.start, columns.queries + 1))
        weights = inference_weights(
            distances.mul_(self._distance_scale), temperature.view(batch, p * q, 1), self._config.k, self._config.relaxation
        )
        items = cut(self._maps[item_rows], columns.first, item_columns).to(self._dtype)
        return cells.block_aggregate(weights.view(batch, -1, p, q, u, v), items, rows, columns)

    def _temperatures(self, log_temperature: Tensor) -> Tensor:
        """Return the temperatures (B, p, q) of patches from the cell means (B, p + 1, q + 1, 1) of the log-temperature."""
        mean = functional.avg_pool2d(log_temperature.squeeze(-1), 2, 1)
        if self._config.temperature_bound is not None:
            mean = mean.clamp(-self._config.temperature_bound, self._config.temperature_bound)
        return (mean + LOG_TEMPERATURE_OFFSET).exp()

    def _keep(self, rows: Span, differences: Tensor) -> None:
        """Queue the finished cell rows (h, w, K, F) as rows of K * C planes, cropped to the image."""
        stride, planes = self._config.stride, self._config.planes
        count = len(differences)
        parts = differences.view(count, self._w, self._config.k, planes, stride, stride)
        pixels = parts.permute(0, 4, 1, 5, 2, 3).reshape(1, count * stride, self._w * stride, -1).permute(0, 3, 1, 2)
        first = rows.start * stride - self._top
        top, bottom = max(0, -first), min(count * stride, self._height - first)
        self._finished.put(pixels[:, :, top:bottom, self._left : self._left + self._width])

    def _join(self, like: Tensor) -> Tensor:
        count = self._finished.rows
        if not count:
            planes = self._config.planes * (1 + self._config.k)
            return like.new_empty(1, planes, 0, self._width)
        return torch.cat((self._inputs.take(count), self._finished.take(count)), 1)


def batches(columns: list[Span], size: int) -> list[list[Span]]:
    """Group consecutive spans of equal shape, at most `size` at a time; spans with a fixed window stand alone."""
    groups: list[list[Span]] = []
    for span in columns:
        previous = groups[-1] if groups else None
        if previous and len(previous) < size and span.slides and previous[-1].slides and span.queries == previous[-1].queries:
            previous.append(span)
        else:
            groups.append([span])
    return groups


class NetworkStage:
    """A whole N3Net for one image of a given size."""

    def __init__(self, network: FoldedNetwork, height: int, width: int, shape: Shape) -> None:
        self._stages: list[Stage] = [DnCNNStage(network.dncnns[0])]
        for block, dncnn in zip(network.blocks, network.dncnns[1:], strict=True):
            self._stages += [N3Stage(network, block, height, width, shape), DnCNNStage(dncnn)]

    def feed(self, rows: Tensor, *, last: bool) -> Tensor:
        """Map noisy rows (1, C, n, W), C = 1 or 2 with the sigma plane, to denoised rows (1, 1, m, W)."""
        for stage in self._stages:
            rows = stage.feed(rows, last=last)
        return rows
