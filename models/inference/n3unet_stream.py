"""N3UNet and UpscalingNet on a stream of rows.

The rows of all stages but the outermost are those of the finest level, which has half the resolution of the image.

Letters: C image channels, P planes the N3 block works on, n and m rows, W columns, f factor of super-resolution.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.inference.convolution import Convolution
from models.inference.cut_plan import StripLayout
from models.inference.folding import FoldedBlock
from models.inference.n3_stage import EmbeddingStage
from models.inference.n3unet_layers import (
    BranchStage,
    FoldedBranch,
    FoldedLevel,
    HeadStage,
    LayerFolder,
    LevelStage,
    ResidualPairs,
    SingleStage,
    residual_stages,
)
from models.inference.row_stages import Chain, Feed, RowQueue, Stage
from models.networks.n3unet import SHUFFLE, N3Trunk, N3UNet
from models.networks.upscaling_net import UpscalingNet


@dataclass(frozen=True)
class FoldedN3UNet:
    """A whole N3UNet, or an UpscalingNet for one factor, in the form for inference.

    The layers are in the order in which a picture passes through them.

    Attributes:
        channels: Channels of the image.
        noise_planes: Planes that follow the image: the noise level, and for super-resolution the factor.
        factor: Pixels of the output along each side of a pixel of the image. It is 1 for an N3UNet. An UpscalingNet returns what
            is to be added to the enlarged image.
    """

    channels: int
    first: Convolution
    encoder: ResidualPairs
    encoder_neighbors: FoldedBranch | None
    level: FoldedLevel
    decoder_neighbors: FoldedBranch | None
    decoder: ResidualPairs
    last: Convolution
    noise_planes: int
    factor: int = 1

    @property
    def blocks(self) -> tuple[FoldedBlock, ...]:
        """The N3 blocks, in the order in which an image passes through them."""
        return tuple(branch.block for branch in (self.encoder_neighbors, self.decoder_neighbors) if branch is not None)

    def stage(self, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the network as a stage for one image, whose size is given at the finest level.

        It maps noisy rows (1, C, 2n, 2W), with the noise planes as a second group, to one group of rows (1, C, 2fm, 2fW).
        """
        return (N3UNetStage if self.factor == 1 else UpscalingStage)(self, height, width, layout)

    def block_stage(self, index: int, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the part of the network that ends where an N3 block compares patches; see `StreamedNetwork.block_stage`."""
        return BlockInputStage(self, index, height, width, layout)


def fold_n3unet(network: N3UNet, device: torch.device, dtype: torch.dtype) -> FoldedN3UNet:
    """Return an N3UNet in the form for inference on a device, with convolutions in the given dtype."""
    config, fold = network.config, LayerFolder(device, dtype)
    return _fold_trunk(network, fold, config.channels, config.noise_planes, fold.convolution(network.last))


def fold_upscaling_net(network: UpscalingNet, device: torch.device, dtype: torch.dtype) -> dict[int, FoldedN3UNet]:
    """Return an UpscalingNet in the form for inference: for each factor a network; all share the trunk."""
    fold = LayerFolder(device, dtype)
    heads = {int(factor): head for factor, head in network.heads.items()}
    assert all(isinstance(head, nn.Conv2d) for head in heads.values())
    convolutions = {factor: fold.convolution(head) for factor, head in heads.items()}  # type: ignore[arg-type]
    trunk = _fold_trunk(network, fold, 1, 2, next(iter(convolutions.values())))
    return {factor: replace(trunk, last=last, factor=factor) for factor, last in convolutions.items()}


def _fold_trunk(network: N3Trunk, fold: LayerFolder, channels: int, noise_planes: int, last: Convolution) -> FoldedN3UNet:
    return FoldedN3UNet(
        channels,
        fold.convolution(network.first),
        fold.pairs(network.enc),
        fold.branch(network.enc_neighbors),
        fold.level(network),
        fold.branch(network.dec_neighbors),
        fold.pairs(network.dec),
        last,
        noise_planes,
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


class UpscalingStage:
    """A whole UpscalingNet for one factor, for one image of a given size."""

    def __init__(self, net: FoldedN3UNet, height: int, width: int, layout: StripLayout) -> None:
        self._trunk = TrunkStage(net, height, width, layout)
        self._factor = net.factor
        self.pixels = self._trunk.pixels

    def feed(self, groups: tuple[Tensor, ...], *, last: bool) -> Feed:
        """Map noisy rows (1, 1, 2n, 2W), with sigma and the factor as a second group, to rows (1, 1, 2fm, 2fW), float32.

        They are what the network adds to the enlarged image.
        """
        (residual,) = yield from self._trunk.feed(_at_finest_level(groups), last=last)
        return (functional.pixel_shuffle(residual.float(), SHUFFLE * self._factor),)


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
        stages: list[Stage] = [SingleStage(net.first, height, width), *residual_stages(net.encoder, height, width)]
        after_branches: tuple[tuple[FoldedBranch | None, list[Stage]], ...] = (
            (net.encoder_neighbors, [LevelStage(net.level, height, width, layout)]),
            (net.decoder_neighbors, [*residual_stages(net.decoder, height, width), SingleStage(net.last, height, width)]),
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


def _at_finest_level(groups: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return the pixel-unshuffled image and the noise planes of pixels of an image and their noise planes."""
    noisy, sigma = groups
    return functional.pixel_unshuffle(noisy, SHUFFLE), functional.avg_pool2d(sigma, SHUFFLE)
