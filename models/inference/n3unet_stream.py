"""N3UNet on a stream of rows. The coarser levels advance as soon as two rows of the level above are there.

The rows of all stages but the outermost are those of the finest level, which has half the resolution of the image.

Letters: C image channels, F features, P planes the N3 block works on, n and m rows, W columns.
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
from models.networks.n3unet import SHUFFLE, N3Branch, N3UNet, ResidualBlock


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


@dataclass(frozen=True)
class FoldedN3UNet:
    """A whole N3UNet in the form for inference, in the order in which a picture passes through it."""

    channels: int
    first: Convolution
    encoder: ResidualPairs
    encoder_neighbors: FoldedBranch | None
    level: FoldedLevel
    decoder_neighbors: FoldedBranch | None
    decoder: ResidualPairs
    last: Convolution
    noise_planes: int

    def stage(self, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the network as a stage for one image, whose size is given at the finest level.

        It maps noisy rows (1, C, 2n, 2W), with the noise planes as a second group, to one group of denoised rows (1, C, 2m, 2W).
        """
        return N3UNetStage(self, height, width, layout)


def fold_n3unet(network: N3UNet, device: torch.device, dtype: torch.dtype) -> FoldedN3UNet:
    """Return an N3UNet in the form for inference on a device, with convolutions in the given dtype."""

    def tensors(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
        assert layer.bias is not None
        weight = layer.weight.detach().to(device, dtype, memory_format=torch.channels_last)
        return weight, layer.bias.detach().to(device, dtype)

    def convolution(layer: nn.Conv2d) -> Convolution:
        return Convolution(*tensors(layer), stride=layer.stride[0])

    def pairs(blocks: nn.Sequential) -> ResidualPairs:
        assert all(isinstance(block, ResidualBlock) for block in blocks)
        return tuple((convolution(block.a), convolution(block.b)) for block in blocks)  # type: ignore[arg-type]

    def branch(neighbors: N3Branch | None) -> FoldedBranch | None:
        if neighbors is None:
            return None
        return FoldedBranch(convolution(neighbors.head), fold_block(neighbors.block, device, dtype), convolution(neighbors.join))

    coarsest = None
    if network.config.levels == 3:
        coarsest = FoldedLevel(convolution(network.down2), pairs(network.low), None, (), tensors(network.up2))
    level = FoldedLevel(convolution(network.down), pairs(network.mid1), coarsest, pairs(network.mid2), tensors(network.up))
    return FoldedN3UNet(
        network.config.channels,
        convolution(network.first),
        pairs(network.enc),
        branch(network.enc_neighbors),
        level,
        branch(network.dec_neighbors),
        pairs(network.dec),
        convolution(network.last),
        network.config.noise_planes,
    )


class N3UNetStage:
    """A whole N3UNet for one image of a given size."""

    def __init__(self, net: FoldedN3UNet, height: int, width: int, layout: StripLayout) -> None:
        self._channels = net.channels
        self._images = RowQueue()
        stages: list[Stage] = [SingleStage(net.first, height, width), *_residual_stages(net.encoder, height, width)]
        self._grays: list[RowQueue] = []  # one for each branch

        def add_branch(branch: FoldedBranch | None) -> None:
            if branch is not None:
                self._grays.append(RowQueue())
                stages.append(BranchStage(branch, self._grays[-1], height, width, layout))

        add_branch(net.encoder_neighbors)
        stages.append(LevelStage(net.level, height, width, layout))
        add_branch(net.decoder_neighbors)
        stages += [*_residual_stages(net.decoder, height, width), SingleStage(net.last, height, width)]
        self._chain = Chain(stages, layout.rows)
        self.pixels = self._chain.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map noisy rows (1, C, 2n, 2W), with the noise planes as a second group, to denoised rows (1, C, 2m, 2W), float32."""
        noisy, sigma = groups
        image = functional.pixel_unshuffle(noisy, SHUFFLE)
        self._images.put(image)
        for gray in self._grays:
            gray.put(image.unflatten(1, (self._channels, SHUFFLE**2)).mean(1))
        (residual,) = yield from self._chain.feed((image, functional.avg_pool2d(sigma, SHUFFLE)), last=last)
        if not residual.shape[2]:
            return (noisy[:, :, :0],)
        return (functional.pixel_shuffle(residual.float() + self._images.take(residual.shape[2]), SHUFFLE),)


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


class BranchStage:
    """An N3 block in a residual branch: conv(N3(conv(x) + image)) is added to x."""

    def __init__(self, branch: FoldedBranch, gray: RowQueue, height: int, width: int, layout: StripLayout) -> None:
        """Prepare the branch; `gray` receives the rows (1, 4, n, W) of the pixel-unshuffled gray image."""
        self._gray, self._trunk = gray, RowQueue()
        self._head = ConvolutionStage((branch.head,))
        join = SingleStage(branch.join, height, width, self._trunk)
        self._chain = Chain((N3Stage(branch.block, height, width, layout), join), layout.rows)
        self.pixels = self._chain.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows (1, F, n, W) to finished rows (1, F, m, W)."""
        self._trunk.put(groups[0])
        planes = self._head.feed(groups, last=last).float()
        if planes.shape[2]:
            planes[:, : SHUFFLE**2] += self._gray.take(planes.shape[2])
        return (yield from self._chain.feed((planes,), last=last))


class LevelStage:
    """A coarser level in a residual branch: up(blocks(down(x))) is added to x."""

    def __init__(self, level: FoldedLevel, height: int, width: int, layout: StripLayout) -> None:
        """Prepare the level; `height` and `width` are those of the level above."""
        half, rows = (height // 2, width // 2), max(1, layout.rows // 2)
        self._down, (self._weight, self._bias) = level.down, level.up
        stages = list(_residual_stages(level.before, *half))
        if level.next is not None:
            stages.append(LevelStage(level.next, *half, StripLayout(layout.padding, rows)))
        self._chain = Chain([*stages, *_residual_stages(level.after, *half)], rows)
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


def _residual_stages(blocks: ResidualPairs, height: int, width: int) -> list[Stage]:
    return [ResidualStage(pair, height, width) for pair in blocks]
