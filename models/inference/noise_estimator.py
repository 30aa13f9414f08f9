"""The network that estimates noise level maps, for pictures of any size in bounded memory."""

from collections.abc import Generator
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from models.images.noise_map import CELL
from models.networks.noise_level_net import CONTEXT_MULTIPLE, CONTEXT_REACH, NoiseLevelNet
from models.weights.files import Weights, WeightsError

TILE = 512
"""Side of the tiles in pixels for the features of the cells."""
CONTEXT_TILE = 128
"""Side of the tiles in cells for the second part of the network."""


class NoiseEstimator:
    """A `NoiseLevelNet` on a device. The result does not depend on the tiles, except for rounding."""

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
        """Prepare the network.

        Args:
            weights: The trained weights.
            device: The device to compute on.
            dtype: Data type of the convolutions on pixels. Those on cells, whose values are logarithms, use float32.

        Raises:
            WeightsError: If the weights are those of another network.
        """
        network = weights.network()
        if not isinstance(network, NoiseLevelNet):
            raise WeightsError(f"the weights {weights.name} are not those of a network that estimates noise")
        self.weights, self.device = weights, device
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for part in (self._network.start, self._network.blocks, self._network.filters, self._network.separated):
            part.to(dtype)

    def steps(self, noisy: Tensor) -> Generator[float, None, Tensor]:
        """Estimate the noise of a picture tile by tile.

        Args:
            noisy: (3, H, W) float32 on the CPU, with white at 1.0.

        Returns:
            A generator that yields the fraction done after each tile, and returns the noise level map (2, h, w) on the CPU, see
            `models.images.noise_map`.
        """
        return self._steps(noisy)

    @torch.inference_mode()
    def _steps(self, noisy: Tensor) -> Generator[float, None, Tensor]:
        height, width = (ceil(side / CELL) for side in noisy.shape[1:])
        places = [(row, column) for row in range(0, height, TILE // CELL) for column in range(0, width, TILE // CELL)]
        cells: Tensor | None = None
        for done, (row, column) in enumerate(places, 1):
            features = self._local(noisy, row, column, TILE // CELL)
            if cells is None:
                cells = features.new_empty(features.shape[0], height, width)
            cells[:, row : row + features.shape[1], column : column + features.shape[2]] = features
            yield done / (len(places) + 1)
        assert cells is not None
        levels = torch.empty(2, height, width)
        for row in range(0, height, CONTEXT_TILE):
            for column in range(0, width, CONTEXT_TILE):
                part = self._context(cells, row, column)
                levels[:, row : row + part.shape[1], column : column + part.shape[2]] = part.cpu()
                yield len(places) / (len(places) + 1)
        return levels

    def _local(self, noisy: Tensor, row: int, column: int, side: int) -> Tensor:
        """Return the features of a tile of cells, (F, h, w)."""
        around = ceil(self._network.config.local_reach / CELL)
        rows, columns = (
            _around(start, side, around, ceil(size / CELL)) for start, size in zip((row, column), noisy.shape[1:], strict=True)
        )
        tile = noisy[None, :, rows.start * CELL : rows.stop * CELL, columns.start * CELL : columns.stop * CELL].to(self.device)
        # The last row and column are repeated until the cells at the edge are full.
        down, right = (CELL * (part.stop - part.start) - size for part, size in zip((rows, columns), tile.shape[2:], strict=True))
        tile = functional.pad(tile, (0, right, 0, down), mode="replicate")
        features: Tensor = self._network.local(tile.contiguous(memory_format=torch.channels_last))[0]
        return features[:, row - rows.start :, column - columns.start :][:, :side, :side]

    def _context(self, cells: Tensor, row: int, column: int) -> Tensor:
        """Return the levels of a tile of cells, (2, h, w)."""
        around = ceil(CONTEXT_REACH / CONTEXT_MULTIPLE) * CONTEXT_MULTIPLE
        rows, columns = (
            _around(start, CONTEXT_TILE, around, size) for start, size in zip((row, column), cells.shape[1:], strict=True)
        )
        tile = cells[None, :, rows, columns].contiguous(memory_format=torch.channels_last)
        levels: Tensor = self._network.noise_levels(self._network.context(tile))[0]
        return levels[:, row - rows.start :, column - columns.start :][:, :CONTEXT_TILE, :CONTEXT_TILE]


def _around(start: int, side: int, around: int, size: int) -> slice:
    return slice(max(0, start - around), min(size, start + side + around))
