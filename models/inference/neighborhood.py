"""The neighbors of one pixel, computed from the crop of the image that determines them.

The crop keeps the borders of the image and the places of the patches, so the weights are those that the network uses when it
denoises the whole image.

Letters: C planes, K neighbors, n candidates of the query patch, u x v patches in its window.
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.inference.blocked_block import window_weights
from models.inference.blocks import Span, SpanGroup
from models.inference.cell_band import CellBand, CellGrid
from models.inference.cut_plan import LEAST_ROWS, Panel, StripLayout, cut_panel, panel_step
from models.inference.footprint import Footprint
from models.inference.noise_levels import NoiseLevels
from models.inference.strips import StreamedNetwork
from models.model_info import BlockFacts
from models.networks.n3net import grid_padding
from models.networks.patches import window_start


@dataclass(frozen=True)
class AxisCrop:
    """The crop along one axis, at the network's finest level.

    Attributes:
        panel: The pixels that are read, and those among them that the window of the query covers.
        span: The query and its window, counted in the patches of the crop.
        edge: First pixel of the window's first patch in the whole image, negative if it begins in the padding.
        stride: Pixels from one patch to the next.
    """

    panel: Panel
    span: Span
    edge: int
    stride: int

    @property
    def length(self) -> int:
        """Number of pixels that are read."""
        return self.panel.stop - self.panel.start

    def pixels(self, scale: int) -> slice:
        """Return the pixels of the image that are read."""
        return slice(scale * self.panel.start, scale * self.panel.stop)

    def edges(self, scale: int, added: int) -> Tensor:
        """Return the first pixel of each patch of the window, not counting the pixels added before the first one of the image."""
        return scale * (self.edge + self.stride * torch.arange(self.span.window)) - added


def crop_axis(footprint: Footprint, length: int, position: int, block: int) -> AxisCrop:
    """Return what determines the neighbors of a pixel along one axis.

    Args:
        footprint: The demands of the network.
        length: Pixels of the whole axis at the finest level.
        position: Place of the pixel, in pixels of the image.
        block: Index of the N3 block.
    """
    stride, scale = footprint.block.stride, footprint.scale
    before, after = grid_padding(length, stride)
    count = (length + before + after) // stride - 1
    # The patch with the nearest center: those of neighboring patches are a stride apart, and the first is a stride from the edge.
    side = scale * stride
    query = min(max((2 * (position + scale * before) + 1 - side) // (2 * side), 0), count - 1)
    window = min(footprint.block.window, count)
    first = window_start(query, count, window)
    start, stop = (stride * cell - before for cell in (first, first + window + 1))
    panel = cut_panel(footprint, length, max(start, 0), min(stop, length), footprint.block_reaches[block])
    skipped = (panel.start + before) // stride if panel.start else 0  # patches before the crop
    return AxisCrop(panel, Span(query - skipped, query - skipped + 1, first - skipped, window, slides=False), start, stride)


def block_facts(network: StreamedNetwork, footprint: Footprint) -> tuple[BlockFacts, ...]:
    """Return the facts about the N3 blocks of a network."""
    stride, scale, size = footprint.block.stride, footprint.scale, footprint.smallest
    layout = StripLayout(grid_padding(size, stride), 1)
    whole = network.stage(size, size, layout).pixels
    window = (footprint.block.window + 1) * stride
    return tuple(
        BlockFacts(
            patch=2 * stride * scale,
            side=scale * (window + 2 * (reach + panel_step(footprint))),
            share=network.block_stage(index, size, size, layout).pixels / whole,
        )
        for index, reach in enumerate(footprint.block_reaches)
    )


@torch.inference_mode()
def neighbor_steps(
    network: StreamedNetwork,
    footprint: Footprint,
    images: Tensor,
    levels: NoiseLevels,
    place: tuple[int, int],
    block: int,
    added: tuple[int, int],
) -> Generator[float, None, Tensor]:
    """Find the neighbors of one pixel.

    Args:
        network: The network.
        footprint: Its demands.
        images: The noisy image (1, C, H, W), of a size that suits the network.
        levels: The noise level planes of the image.
        place: Row and column of the pixel.
        block: Index of the N3 block.
        added: Rows and columns that were added at the top and at the left of the image. Positions in the table are counted
            without them.

    Yields:
        The fraction done after each part of the work, rising to 1.

    Returns:
        A table (3 + K, 1 + n) on the CPU, float32, as `models.neighbors.neighborhood.Neighborhood.parse` takes it.
    """
    folded, scale = network.blocks[block], footprint.scale
    rows, columns = (
        crop_axis(footprint, length // scale, position, block) for length, position in zip(images.shape[-2:], place, strict=True)
    )
    pixels = rows.pixels(scale), columns.pixels(scale)
    groups: tuple[Tensor, ...] = (images[(..., *pixels)].to(folded.device),)
    if network.noise_planes:
        groups += (levels.take(*pixels),)
    layout = StripLayout(columns.panel.padding, max(footprint.rows, LEAST_ROWS), row_padding=rows.panel.padding)
    stage = network.block_stage(block, rows.length, columns.length, layout)
    done, feed = 0, stage.feed(groups, last=True)
    while True:
        try:
            done += next(feed)
        except StopIteration as end:
            (maps,) = end.value
            break
        yield done / stage.pixels
    grid = CellGrid.cover(rows.length, columns.length, folded.config.stride, columns.panel.padding, rows.panel.padding)
    band = CellBand(grid, folded.device)
    band.put(maps)
    band.fill(grid.h)
    weights, temperature = window_weights(folded, band, rows.span, SpanGroup(columns.span, 1))
    y, x = torch.meshgrid(rows.edges(scale, added[0]), columns.edges(scale, added[1]), indexing="ij")
    return _table(x, y, temperature.cpu(), weights.cpu(), rows.span.own()[0] * columns.span.window + columns.span.own()[0])


def _table(x: Tensor, y: Tensor, temperature: Tensor, weights: Tensor, own: int) -> Tensor:
    """Return the table for one query, whose own patch has a given index in the window."""
    count = x.numel()
    parts = (x.reshape(1, count), y.reshape(1, count), temperature.reshape(1, 1).expand(1, count), weights.reshape(-1, count))
    table = torch.cat([part.float() for part in parts])
    return torch.cat((table[:, own : own + 1], table[:, :own], table[:, own + 1 :]), 1)
