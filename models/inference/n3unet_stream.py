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
from models.inference.n3_stage import EmbeddingStage, N3Stage
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

    @property
    def blocks(self) -> tuple[FoldedBlock, ...]:
        """The N3 blocks, in the order in which an image passes through them."""
        return tuple(branch.block for branch in (self.encoder_neighbors, self.decoder_neighbors) if branch is not None)

    def stage(self, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the network as a stage for one image, whose size is given at the finest level.

        It maps noisy rows (1, C, 2n, 2W), with the noise planes as a second group, to one group of denoised rows (1, C, 2m, 2W).
        """
        return N3UNetStage(self, height, width, layout)

    def block_stage(self, index: int, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the part of the network that ends where an N3 block compares patches; see `StreamedNetwork.block_stage`."""
        return BlockInputStage(self, index, height, width, layout)


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
        self._trunk = TrunkStage(net, height, width, layout)
        self._images = RowQueue()
        self.pixels = self._trunk.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map noisy rows (1, C, 2n, 2W), with the noise planes as a second group, to denoised rows (1, C, 2m, 2W), float32."""
        image, level = _at_finest_level(groups)
        self._images.put(image)
        (residual,) = yield from self._trunk.feed((image, level), last=last)
        if not residual.shape[2]:
            return (groups[0][:, :, :0],)
        return (functional.pixel_shuffle(residual.float() + self._images.take(residual.shape[2]), SHUFFLE),)


class BlockInputStage:
    """The part of an N3UNet that ends where an N3 block compares patches, for one image of a given size."""

    def __init__(self, net: FoldedN3UNet, index: int, height: int, width: int, layout: StripLayout) -> None:
        self._trunk = TrunkStage(net, height, width, layout, index)
        self.pixels = self._trunk.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map noisy rows (1, C, 2n, 2W), with the noise planes as a second group, to rows (1, 2 * P + 1, m, W), float32."""
        return (yield from self._trunk.feed(_at_finest_level(groups), last=last))


class TrunkStage:
    """The layers of an N3UNet."""

    def __init__(self, net: FoldedN3UNet, height: int, width: int, layout: StripLayout, block: int | None = None) -> None:
        """Prepare all layers, or those up to the embedding of the N3 block with an index."""
        self._channels = net.channels
        self._grays: list[RowQueue] = []  # one for each branch
        stages: list[Stage] = [SingleStage(net.first, height, width), *_residual_stages(net.encoder, height, width)]
        after_branches: tuple[tuple[FoldedBranch | None, list[Stage]], ...] = (
            (net.encoder_neighbors, [LevelStage(net.level, height, width, layout)]),
            (net.decoder_neighbors, [*_residual_stages(net.decoder, height, width), SingleStage(net.last, height, width)]),
        )
        for branch, following in after_branches:
            if branch is not None:
                self._grays.append(RowQueue())
                if len(self._grays) - 1 == block:
                    stages.append(HeadStage(branch.head, self._grays[-1], height, width))
                    stages.append(EmbeddingStage(branch.block, height, width))
                    break
                stages.append(BranchStage(branch, self._grays[-1], height, width, layout))
            stages += following
        self._chain = Chain(stages, layout.rows)
        self.pixels: int = self._chain.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map rows of the pixel-unshuffled image (1, 4 * C, n, W), with the noise planes as a second group, to finished rows."""
        for gray in self._grays:
            gray.put(groups[0].unflatten(1, (self._channels, SHUFFLE**2)).mean(1))
        return (yield from self._chain.feed(groups, last=last))


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


def _at_finest_level(groups: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return the pixel-unshuffled image and the noise planes of pixels of an image and their noise planes."""
    noisy, sigma = groups
    return functional.pixel_unshuffle(noisy, SHUFFLE), functional.avg_pool2d(sigma, SHUFFLE)
