"""N3UNet: a U-Net on 2x2 pixel-unshuffled images with neural nearest neighbors blocks (Plötz & Roth 2018) at its finest level.

Letters: B batch, C image channels (1 or 3), H x W pixels, F features, P planes the N3 block works on, K neighbors.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.images.noise_map import WHITE
from models.networks.convolutions import ConvolutionReLU, convolution_dtype, runs_in_one_pass
from models.networks.n3net import N3Block, N3BlockConfig, reflect

SHUFFLE = 2
"""Image pixels along each side of a pixel of the finest level."""
BLOCKS_PER_LEVEL = 2
"""Residual blocks between two changes of the resolution, or between one and an N3 block."""

BlockPosition = Literal["encoder", "decoder", "both", "none"]


@dataclass(frozen=True, kw_only=True)
class N3UNetConfig(N3BlockConfig):
    """The geometry of an N3UNet. Its N3 block counts strides in pixels of the finest level.

    Attributes:
        channels: Image channels, 1 (gray) or 3 (RGB).
        noise_planes: Planes that tell the noise level: 1 for white noise, or 2 for RGB images whose luma and color differences
            have noise of their own, see `models.images.noise_map`.
        features: Features at the finest level.
        levels: Number of resolutions, 2 or 3. Each level has half the resolution of the previous one.
        coarse_features: Features at each coarser level, beginning with the finer one. Empty stands for two and three times as
            many as at the finest level.
        position: Where an N3 block stands at the finest level: before the coarser levels ("encoder"), after them ("decoder"),
            in both places, or nowhere.
    """

    stride: int = 3
    channels: int = 1
    noise_planes: int = 1
    features: int = 64
    levels: int = 3
    coarse_features: tuple[int, ...] = ()
    position: BlockPosition = "decoder"

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a configuration from plain values; see `StoredConfig.parse`."""
        return super().parse({**values, "coarse_features": tuple(values.get("coarse_features", ()))})

    @property
    def widths(self) -> tuple[int, ...]:
        """Features at each level, beginning with the finest."""
        return (self.features, *(self.coarse_features or (factor * self.features for factor in range(2, self.levels + 1))))

    @property
    def multiple(self) -> int:
        """Number of pixels of which the sides of an image must be multiples."""
        return SHUFFLE << (self.levels - 1)

    @property
    def smallest_side(self) -> int:
        """Pixels that an image needs along each side."""
        needed = 1 if self.position == "none" else SHUFFLE * self.smallest_map
        return -(-needed // self.multiple) * self.multiple

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        super().check()
        if not all(type(width) is int and width > 0 for width in self.widths):
            raise ValueError("features must be positive integers")
        if self.channels not in (1, 3) or self.levels not in (2, 3):
            raise ValueError("channels must be 1 or 3, and levels 2 or 3")
        if len(self.widths) != self.levels:
            raise ValueError(f"coarse_features must name the features of {self.levels - 1} levels, or be empty")
        if self.noise_planes not in (1, 2) or (self.noise_planes == 2 and self.channels == 1):
            raise ValueError("noise_planes must be 1, or 2 for 3 channels")
        if self.position not in ("encoder", "decoder", "both", "none"):
            raise ValueError(f"unknown position of the N3 block: {self.position!r}")
        if self.planes < SHUFFLE**2:
            raise ValueError(f"planes must be at least {SHUFFLE**2}, but is {self.planes}")

    def build(self) -> "N3UNet":
        """Return a network of this geometry with fresh weights."""
        return N3UNet(self)


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), without normalization. The second convolution starts with half the default weights."""

    def __init__(self, features: int) -> None:
        """Build the two 3x3 convolutions."""
        super().__init__()
        self.a = nn.Conv2d(features, features, 3, padding=1)
        self.b = nn.Conv2d(features, features, 3, padding=1)
        with torch.no_grad():
            self.b.weight.mul_(0.5)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, F, H, W) to (B, F, H, W)."""
        dtype = convolution_dtype(maps)
        if runs_in_one_pass(maps.device, dtype):
            weight, bias = self.a.weight.to(dtype), self.a.bias.to(dtype)  # type: ignore[union-attr]
            inner: Tensor = ConvolutionReLU.apply(maps.to(dtype), weight, bias)  # type: ignore[no-untyped-call]
        else:
            inner = functional.relu(self.a(maps))
        return maps + self.b(inner)  # type: ignore[no-any-return]


class N3Branch(nn.Module):
    """An N3 block in a residual branch of the trunk: a convolution to the block's planes, the block, and a convolution back."""

    def __init__(self, config: N3UNetConfig) -> None:
        """Build the block and the convolutions before and after it."""
        super().__init__()
        self.head = nn.Conv2d(config.features, config.planes, 3, padding=1)
        self.block = N3Block(config)
        self.join = nn.Conv2d(config.planes * (1 + config.k), config.features, 3, padding=1)
        with torch.no_grad():
            self.join.weight.mul_(0.5)

    def forward(self, trunk: Tensor, image: Tensor) -> Tensor:
        """Add the branch to the trunk.

        Args:
            trunk: (B, F, H/2, W/2).
            image: (B, 4, H/2, W/2), the pixel-unshuffled mean of the image channels. It is added to the block's first planes.

        Returns:
            (B, F, H/2, W/2).
        """
        planes = self.head(trunk)
        planes = planes + functional.pad(image, (0, 0, 0, 0, 0, planes.shape[1] - image.shape[1]))
        return trunk + self.join(self.block(planes))  # type: ignore[no-any-return]


class N3Trunk(nn.Module):
    """Encoder, coarser levels and decoder. N3 blocks stand after the encoder, before the decoder, or both."""

    def __init__(self, config: N3UNetConfig, inputs: int) -> None:
        """Build the layers, with PyTorch's default initialization except for the last convolutions of the residual branches.

        Args:
            config: The geometry.
            inputs: Input planes at the finest level.
        """
        super().__init__()
        self.config = config
        features, middle, lowest = (*config.widths, 0)[:3]
        before, after = config.position in ("encoder", "both"), config.position in ("decoder", "both")
        self.first = nn.Conv2d(inputs, features, 3, padding=1)
        self.enc = _residual_blocks(features)
        self.enc_neighbors = N3Branch(config) if before else None
        self.down = nn.Conv2d(features, middle, 2, stride=2)
        self.mid1 = _residual_blocks(middle)
        if config.levels == 3:
            self.down2 = nn.Conv2d(middle, lowest, 2, stride=2)
            self.low = _residual_blocks(lowest)
            self.up2 = nn.ConvTranspose2d(lowest, middle, 2, stride=2)
        self.mid2 = _residual_blocks(middle)
        self.up = nn.ConvTranspose2d(middle, features, 2, stride=2)
        self.dec_neighbors = N3Branch(config) if after else None
        self.dec = _residual_blocks(features)

    def features(self, inputs: Tensor, gray: Tensor) -> Tensor:
        """Return the features from which a last convolution makes the output.

        Args:
            inputs: The input planes, (B, inputs, H/2, W/2).
            gray: (B, 4, H/2, W/2), the pixel-unshuffled mean of the image channels, for the N3 blocks.

        Returns:
            (B, F, H/2, W/2).
        """
        trunk = self.enc(self.first(inputs))
        if self.enc_neighbors is not None:
            trunk = self.enc_neighbors(trunk, gray)
        middle = self.mid1(self.down(trunk))
        if self.config.levels == 3:
            middle = middle + self.up2(self.low(self.down2(middle)))
        trunk = trunk + self.up(self.mid2(middle))
        if self.dec_neighbors is not None:
            trunk = self.dec_neighbors(trunk, gray)
        return self.dec(trunk)  # type: ignore[no-any-return]


class N3UNet(N3Trunk):
    """The denoising network: the trunk on the image and its noise level, and a convolution that returns the residual."""

    def __init__(self, config: N3UNetConfig) -> None:
        """Build the network."""
        planes = config.channels * SHUFFLE**2
        super().__init__(config, planes + config.noise_planes)
        self.last = nn.Conv2d(config.features, planes, 3, padding=1)

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Denoise a batch.

        Args:
            noisy: y, (B, C, H, W), in [0, 1] before noise was added. Sides that are no multiples of `config.multiple` are
                extended by reflection.
            sigma: Noise standard deviation on the [0, 1] scale: a scalar, (B, 1, 1, 1), or a map (B, 1, H, W). A network with two
                noise planes takes it as the level of white noise, or a map (B, 2, H, W) for luma and the color differences.

        Returns:
            The denoised images, (B, C, H, W), not clipped.
        """
        height, width = noisy.shape[-2:]
        if self.config.noise_planes == 2 and (sigma.ndim < 4 or sigma.shape[1] == 1):
            sigma = sigma * sigma.new_tensor(WHITE).view(1, 2, 1, 1)
        smallest, multiple = self.config.smallest_side, self.config.multiple
        if sigma.shape[-2:] == noisy.shape[-2:] != (1, 1):
            sigma = functional.avg_pool2d(reflect(sigma, smallest, multiple)[0], SHUFFLE)
        noisy, top, left = reflect(noisy, smallest, multiple)
        image = functional.pixel_unshuffle(noisy, SHUFFLE)
        level = sigma.to(image.dtype).expand(len(image), self.config.noise_planes, *image.shape[-2:])
        gray = image.unflatten(1, (self.config.channels, SHUFFLE**2)).mean(1)
        residual = self.last(self.features(torch.cat((image, level), 1), gray))
        return functional.pixel_shuffle(image + residual, SHUFFLE)[..., top : top + height, left : left + width]


def _residual_blocks(features: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(features) for _ in range(BLOCKS_PER_LEVEL)))
