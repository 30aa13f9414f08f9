"""Distances between all patches of a map, and weighted averages of them, computed on cells: the dense form.

A patch of two strides by two strides consists of 2 x 2 cells of one stride by one stride. The squared distance of two patches is
the sum of four squared distances of cells, and averaging overlapping patches is one weighted sum per cell. Working on cells
therefore takes a quarter of the arithmetic and needs no unfolded copy of the map.

In the dense form, every patch is a candidate of every patch. It serves crops, where this costs little, and gradients.
`models.inference.blocks` holds the form for whole images.

Letters: B batch, K neighbors, C planes, H x W pixels, F values of a cell, h x w cells, p x q = (h - 1) x (w - 1) patches.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Positions (row, column) of the four cells in a patch."""


def to_cells(maps: Tensor, stride: int) -> Tensor:
    """Cut maps (B, C, H, W), whose sides are multiples of the stride, into cells (B, h, w, C * stride^2)."""
    return functional.pixel_unshuffle(maps, stride).permute(0, 2, 3, 1)


def from_cells(cells: Tensor, stride: int) -> Tensor:
    """Join cells (B, h, w, C * stride^2) to maps (B, C, H, W), the inverse of `to_cells`."""
    return functional.pixel_shuffle(cells.permute(0, 3, 1, 2), stride)


def cell_distances(queries: Tensor, items: Tensor) -> Tensor:
    """Return the squared Euclidean distances (B, M, N) of M cells (B, M, F) to N cells (B, N, F), in the dtype of the cells."""
    products = torch.baddbmm(items.square().sum(-1).unsqueeze(-2), queries, items.mT, alpha=-2)
    return products.add_(queries.square().sum(-1, keepdim=True))


def dense_distances(cells: Tensor) -> Tensor:
    """Return the squared Euclidean distances (B, p, q, p, q) of all patches of the cells (B, h, w, F)."""
    batch, h, w, values = cells.shape
    flat = cells.reshape(batch, h * w, values)
    grid = cell_distances(flat, flat).view(batch, h, w, h, w)
    p, q = h - 1, w - 1
    return sum(grid[:, y : y + p, x : x + q, y : y + p, x : x + q] for y, x in OFFSETS)  # type: ignore[return-value]


def dense_aggregate(weights: Tensor, cells: Tensor) -> Tensor:
    """Return weighted averages of the patches, with overlapping patches averaged in turn.

    Args:
        weights: (B, K, p, q, p, q), each patch's weights over all patches.
        cells: (B, h, w, F). The products are computed in their dtype.

    Returns:
        (B, K, h, w, F), in the dtype of the weights.
    """
    batch, k, p, q = weights.shape[:4]
    patches = torch.cat([cells[:, y : y + p, x : x + q] for y, x in OFFSETS], -1)  # (B, p, q, 4 F)
    flat = weights.reshape(batch, k * p * q, p * q).to(cells.dtype)
    selected = (flat @ patches.flatten(1, 2)).view(batch, k, p, q, -1)
    summed: Tensor = OverlapAdd.apply(selected, weights.dtype)  # type: ignore[no-untyped-call]
    counts = coverage(p + 1, weights.device).view(-1, 1, 1) * coverage(q + 1, weights.device).view(-1, 1)
    return summed / counts.to(weights)


class OverlapAdd(torch.autograd.Function):
    """Sum the patches that cover each cell, without a padded copy for each of the four cells of a patch."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, dtype: torch.dtype) -> Tensor:
        """Sum patches (B, K, p, q, 4 F) to cells (B, K, h, w, F), in the given dtype."""
        batch, k, p, q = patches.shape[:4]
        ctx.dtype = patches.dtype
        parts = patches.unflatten(-1, (4, -1))
        summed = patches.new_zeros(batch, k, p + 1, q + 1, parts.shape[-1], dtype=dtype)
        for index, (y, x) in enumerate(OFFSETS):
            summed[:, :, y : y + p, x : x + q] += parts[..., index, :]
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the patches: each patch receives the gradients of its four cells."""
        p, q = gradients[0].shape[2] - 1, gradients[0].shape[3] - 1
        gradient = gradients[0].to(ctx.dtype)
        return torch.cat([gradient[:, :, y : y + p, x : x + q] for y, x in OFFSETS], -1), None


def coverage(count: int, device: torch.device) -> Tensor:
    """Return how many patches cover each of the `count` >= 2 cells along one axis: one at both ends, two elsewhere."""
    counts = torch.full((count,), 2, device=device)
    counts[0] = counts[-1] = 1
    return counts


def window_mask(p: int, q: int, window: int, device: torch.device) -> Tensor:
    """Return which patches are candidates of which query.

    The window of a query is centered on it where the image allows, and shifted into the image at its borders. The query itself is
    not a candidate.

    Args:
        p: Patches along the vertical axis.
        q: Patches along the horizontal axis.
        window: Patches along each side of the window.
        device: Device of the result.

    Returns:
        (p, q, p, q), bool: query row and column, then candidate row and column.
    """
    rows, columns = (_in_window(count, window, device) for count in (p, q))
    own = torch.eye(p * q, dtype=torch.bool, device=device).view(p, q, p, q)
    return rows[:, None, :, None] & columns[None, :, None, :] & ~own


def _in_window(count: int, window: int, device: torch.device) -> Tensor:
    starts = torch.tensor([window_start(index, count, window) for index in range(count)], device=device)[:, None]
    indices = torch.arange(count, device=device)
    return (indices >= starts) & (indices < starts + window)


def window_start(query: int, count: int, window: int) -> int:
    """Return the index of a query's first candidate along one axis of `count` patches."""
    return max(0, min(query - window // 2, count - window))
