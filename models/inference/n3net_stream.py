"""N3Net on a stream of rows. Each layer keeps only the rows that it needs again, so no map of the whole image ever exists.

Rows enter at the top of the image, any number at a time, and pass through all layers. What comes out some rows later is exactly
what the whole image would have given, because each layer sees the same rows. The memory grows only with the width of the image.

Letters: C planes, n and m rows, W columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.inference.convolution import Convolution
from models.inference.cut_plan import StripLayout
from models.inference.folding import FoldedBlock, fold_block, fold_convolutions
from models.inference.n3_stage import EmbeddingStage, N3Stage
from models.inference.row_stages import Chain, ConvolutionStage, Feed, RowQueue, Stage
from models.networks.n3net import DnCNN, N3Block, N3Net


@dataclass(frozen=True)
class FoldedDnCNN:
    """A DnCNN in the form for inference.

    Attributes:
        convolutions: Its convolutions.
        residual: Number of first planes of the input that are added to the output.
    """

    convolutions: tuple[Convolution, ...]
    residual: int


@dataclass(frozen=True)
class FoldedN3Net:
    """A whole N3Net in the form for inference.

    Attributes:
        dncnns: One more than there are N3 blocks.
        blocks: The N3 blocks.
        noise_planes: 1 if the network takes the noise level as a second plane, otherwise 0.
    """

    dncnns: tuple[FoldedDnCNN, ...]
    blocks: tuple[FoldedBlock, ...]
    noise_planes: int

    @property
    def factor(self) -> int:
        """Pixels of the output along each side of a pixel of the image."""
        return 1

    def stage(self, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the network as a stage for one image of a given size.

        It maps noisy rows (1, 1, n, W), with the sigma plane as a second group, to one group of denoised rows (1, 1, m, W).
        """
        stages = self._stages(len(self.blocks), height, width, layout)
        return Chain(stages, layout.rows)

    def block_stage(self, index: int, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the part of the network that ends where an N3 block compares patches; see `StreamedNetwork.block_stage`."""
        stages = self._stages(index, height, width, layout)
        return Chain([*stages, EmbeddingStage(self.blocks[index], height, width)], layout.rows)

    def _stages(self, blocks: int, height: int, width: int, layout: StripLayout) -> list[Stage]:
        """Return the stages up to the DnCNN that follows a number of N3 blocks."""
        stages: list[Stage] = [DnCNNStage(self.dncnns[0], height, width)]
        for block, dncnn in zip(self.blocks[:blocks], self.dncnns[1:], strict=False):
            stages += [N3Stage(block, height, width, layout), DnCNNStage(dncnn, height, width)]
        return stages


def fold_n3net(network: N3Net, device: torch.device, dtype: torch.dtype) -> FoldedN3Net:
    """Return an N3Net in the form for inference on a device, with convolutions in the given dtype."""
    dncnns, blocks = [], []
    for net in network.dncnns:
        assert isinstance(net, DnCNN)
        dncnns.append(FoldedDnCNN(fold_convolutions(net, device, dtype), net.residual))
    for block in network.blocks:
        assert isinstance(block, N3Block)
        blocks.append(fold_block(block, device, dtype))
    return FoldedN3Net(tuple(dncnns), tuple(blocks), int(network.config.sigma_plane))


class DnCNNStage:
    """A DnCNN: convolutions, with the first planes of the input added to their output in float32."""

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
