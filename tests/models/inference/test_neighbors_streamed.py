"""The neighbors of one pixel against the weights that the streamed inference uses while it denoises the whole image."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.inference import blocked_block
from models.inference.blocks import Span, SpanGroup
from models.inference.cell_band import CellBand
from models.inference.denoiser import Denoiser
from models.inference.folding import FoldedBlock
from models.neighbors.neighborhood import Neighborhood, NeighborQuery
from models.networks.n3net import grid_padding
from models.steps import run_through
from tests.support.networks import random_image

SIGMA = 25 / 255


class Recorder:
    """Keeps the weights of one query while the streamed network denoises an image."""

    def __init__(self, block: FoldedBlock, row: int, column: int) -> None:
        self.block, self.row, self.column = block, row, column
        self.weights: NDArray[np.float32] | None = None
        self._original = blocked_block.window_weights

    def __call__(self, block: FoldedBlock, band: CellBand, rows: Span, group: SpanGroup) -> tuple[Tensor, Tensor]:
        weights, temperature = self._original(block, band, rows, group)
        if block is self.block and rows.start <= self.row < rows.stop and group.start <= self.column < group.stop:
            batch, column = divmod(self.column - group.start, group.first.queries)
            row = self.row - rows.start
            own = rows.own()[row] * group.first.window + group.first.own()[column]
            self.weights = np.delete(weights[batch, :, row, column].flatten(1).numpy(), own, axis=1)
        return weights, temperature


@pytest.mark.parametrize(("name", "block"), [("n3net", 1), ("n3net", 2), ("n3unet", 1)])
def test_the_weights_are_those_of_the_streamed_inference(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser = Denoiser.load(name, "cpu", "float32", name=name)
    noisy = random_image(331, 352)
    query = NeighborQuery(180, 170, block)
    found = Neighborhood.parse(run_through(denoiser.neighbor_steps(noisy, SIGMA, query)).numpy())
    stride, scale, multiple = denoiser.footprint.block.stride, denoiser.footprint.scale, denoiser.footprint.multiple
    lengths = (-(-side // (scale * multiple)) * multiple for side in noisy.shape)
    row, column = (
        (edge // scale + grid_padding(length, stride)[0]) // stride
        for edge, length in zip(found.query[::-1], lengths, strict=True)
    )
    recorder = Recorder(denoiser.network.blocks[block - 1], row, column)
    monkeypatch.setattr(blocked_block, "window_weights", recorder)
    denoiser.denoise(noisy, SIGMA)
    assert recorder.weights is not None
    assert denoiser.info.blocks[block - 1].side < 331  # so that a crop was computed
    torch.testing.assert_close(torch.from_numpy(found.weights), torch.from_numpy(recorder.weights), atol=1e-4, rtol=0)
