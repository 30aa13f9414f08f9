"""The layers of an N3UNet in the form for inference, and as stages on a stream of rows.

The rows of a stage are those of its level. The coarser levels advance as soon as two rows of the level above are there.

Letters: F features, P planes the N3 block works on, n and m rows, W columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.inference.convolution import Convolution
from models.inference.cut_plan import StripLayout
from models.inference.folding import FoldedBlock, fold_block
from models.inference.n3_stage import N3Stage
from models.inference.row_stages import Chain, ConvolutionStage, Feed, RowQueue, Stage
from models.networks.n3unet import SHUFFLE, N3Branch, N3Trunk, ResidualBlock


@dataclass(frozen=True)
class FoldedBranch:
    """An N3 branch in the form for inference.

    Attributes:
        head: The convolution to the planes of the block.
        block: The N3 block.
        join: The convolution from the planes of the block and of its neighbors.
    """

    head: Convolution
    block: FoldedBlock
    join: Convolution


@dataclass(frozen=True)
class FoldedLevel:
    """A coarser level, and what follows it at the resolution of the level above.

    Attributes:
        down: The convolution that halves the resolution.
        before: The residual blocks before the next coarser level.
        next: The next coarser level; None for the coarsest one.
        after: The residual blocks after the next coarser level.
        up: Weight (C_in, C_out, 2, 2) and bias of the transposed convolution that doubles the resolution.
    """

    down: Convolution
    before: "ResidualPairs"
    next: "FoldedLevel | None"
    after: "ResidualPairs"
    up: tuple[Tensor, Tensor]


ResidualPairs = tuple[tuple[Convolution, Convolution], ...]
"""The two convolutions of each of several residual blocks."""


class LayerFolder:
    """Brings the layers of an N3UNet into the form for inference on a device, with convolutions in a given dtype."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype

    def convolution(self, layer: nn.Conv2d) -> Convolution:
        """Return a convolution."""
        return Convolution(*self._tensors(layer), stride=layer.stride[0])

    def pairs(self, blocks: nn.Sequential) -> ResidualPairs:
        """Return residual blocks."""
        assert all(isinstance(block, ResidualBlock) for block in blocks)
        return tuple((self.convolution(block.a), self.convolution(block.b)) for block in blocks)  # type: ignore[arg-type]

    def branch(self, neighbors: N3Branch | None) -> FoldedBranch | None:
        """Return an N3 branch, or None if there is none."""
        if neighbors is None:
            return None
        block = fold_block(neighbors.block, self._device, self._dtype)
        return FoldedBranch(self.convolution(neighbors.head), block, self.convolution(neighbors.join))

    def level(self, trunk: N3Trunk) -> FoldedLevel:
        """Return the coarser levels of a trunk."""
        coarsest = None
        if trunk.config.levels == 3:
            coarsest = FoldedLevel(self.convolution(trunk.down2), self.pairs(trunk.low), None, (), self._tensors(trunk.up2))
        down, before, after = self.convolution(trunk.down), self.pairs(trunk.mid1), self.pairs(trunk.mid2)
        return FoldedLevel(down, before, coarsest, after, self._tensors(trunk.up))

    def _tensors(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
        assert layer.bias is not None
        weight = layer.weight.detach().to(self._device, self._dtype, memory_format=torch.channels_last)
        return weight, layer.bias.detach().to(self._device, self._dtype)


class SingleStage:
    """One 3x3 convolution."""

    def __init__(self, convolution: Convolution, height: int, width: int, added: RowQueue | None = None) -> None:
        """Prepare the convolution; rows from `added` are added to its output."""
        self.pixels = height * width
        self._convolution = ConvolutionStage((convolution,), added)

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows, whose planes come in groups, to finished rows."""
        out = self._convolution.feed(groups, last=last)
        yield out.shape[2] * out.shape[3]
        return (out,)


class ResidualStage:
    """A residual block: x + conv(ReLU(conv(x)))."""

    def __init__(self, pair: tuple[Convolution, Convolution], height: int, width: int) -> None:
        self.pixels = height * width
        self._inputs = RowQueue()
        self._convolutions = ConvolutionStage(pair, self._inputs)

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows (1, F, n, W) to finished rows (1, F, m, W)."""
        self._inputs.put(groups[0])
        out = self._convolutions.feed(groups, last=last)
        yield out.shape[2] * out.shape[3]
        return (out,)


class HeadStage:
    """The convolution to the planes of an N3 block. The gray image is added to its first planes."""

    def __init__(self, convolution: Convolution, gray: RowQueue, height: int, width: int) -> None:
        """Prepare the convolution; `gray` receives the rows (1, 4, n, W) of the pixel-unshuffled gray image."""
        self._convolution, self._gray = SingleStage(convolution, height, width), gray
        self.pixels = self._convolution.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows (1, F, n, W) to finished rows (1, P, m, W), float32."""
        (planes,) = yield from self._convolution.feed(groups, last=last)
        planes = planes.float()
        if planes.shape[2]:
            planes[:, : SHUFFLE**2] += self._gray.take(planes.shape[2])
        return (planes,)


class BranchStage:
    """An N3 block in a residual branch: conv(N3(conv(x) + image)) is added to x."""

    def __init__(self, branch: FoldedBranch, gray: RowQueue, height: int, width: int, layout: StripLayout) -> None:
        """Prepare the branch; `gray` receives the rows (1, 4, n, W) of the pixel-unshuffled gray image."""
        self._trunk = RowQueue()
        head = HeadStage(branch.head, gray, height, width)
        join = SingleStage(branch.join, height, width, self._trunk)
        self._chain = Chain((head, N3Stage(branch.block, height, width, layout), join), layout.rows)
        self.pixels = self._chain.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows (1, F, n, W) to finished rows (1, F, m, W)."""
        self._trunk.put(groups[0])
        return (yield from self._chain.feed(groups, last=last))


class LevelStage:
    """A coarser level in a residual branch: up(blocks(down(x))) is added to x."""

    def __init__(self, level: FoldedLevel, height: int, width: int, layout: StripLayout) -> None:
        """Prepare the level; `height` and `width` are those of the level above."""
        half, rows = (height // 2, width // 2), max(1, layout.rows // 2)
        self._down, (self._weight, self._bias) = level.down, level.up
        stages = list(residual_stages(level.before, *half))
        if level.next is not None:
            stages.append(LevelStage(level.next, *half, StripLayout(layout.padding, rows)))
        self._chain = Chain([*stages, *residual_stages(level.after, *half)], rows)
        self._pairs, self._inputs = RowQueue(), RowQueue()
        self.pixels = self._chain.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows (1, F, n, W) to finished rows (1, F, m, W)."""
        (rows,) = groups
        self._pairs.put(rows)
        self._inputs.put(rows)
        if even := self._pairs.rows // 2 * 2:
            coarse = self._down(self._pairs.take(even))
        else:
            coarse = rows.new_empty(1, self._down.planes, 0, rows.shape[3] // 2)
        (coarse,) = yield from self._chain.feed((coarse,), last=last)
        if not coarse.shape[2]:
            return (rows[:, :, :0],)
        fine = functional.conv_transpose2d(coarse, self._weight, self._bias, stride=2)
        return (fine.add_(self._inputs.take(fine.shape[2])),)


def residual_stages(blocks: ResidualPairs, height: int, width: int) -> list[Stage]:
    """Return residual blocks as stages for maps of a given size."""
    return [ResidualStage(pair, height, width) for pair in blocks]
