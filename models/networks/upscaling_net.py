"""Networks for super-resolution: they enlarge a gray image by 2, 3 or 4, and can remove its noise in the same pass.

Letters: B batch, h x w pixels of the input, f factor, H x W = fh x fw pixels of the output, F features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.images.resize import enlarge
from models.networks.n3net import N3Net, N3NetConfig, reflect
from models.networks.n3unet import SHUFFLE, N3Trunk, N3UNetConfig

FACTORS = (2, 3, 4)
"""The factors by which one set of weights enlarges."""


def check_factor(factor: int) -> None:
    """Check a factor.

    Raises:
        ValueError: If it is not one of `FACTORS`.
    """
    if factor not in FACTORS:
        raise ValueError(f"the factor must be one of {', '.join(map(str, FACTORS))}, but is {factor}")


@dataclass(frozen=True, kw_only=True)
class UpscalingConfig(N3UNetConfig):
    """The geometry of an `UpscalingNet`. It is that of an N3UNet for gray images, by default without the coarsest level."""

    levels: int = 2

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        super().check()
        if self.channels != 1 or self.noise_planes != 1:
            raise ValueError("a network for super-resolution has 1 channel and 1 noise plane")

    def build(self) -> "UpscalingNet":  # type: ignore[override]
        """Return a network of this geometry with fresh weights."""
        return UpscalingNet(self)


class UpscalingNet(N3Trunk):
    """The trunk of an N3UNet on the small image. Sub-pixel convolutions (Shi et al. 2016), one per factor, enlarge at the end.

    The network is told sigma and the factor, and adds what it returns to the bicubically enlarged image.
    """

    def __init__(self, config: UpscalingConfig) -> None:
        """Build the network. Its heads start with a tenth of the default weights, so that it starts with bicubic enlargement."""
        super().__init__(config, SHUFFLE**2 + 2)
        self.heads = nn.ModuleDict(
            {str(factor): nn.Conv2d(config.features, (SHUFFLE * factor) ** 2, 3, padding=1) for factor in FACTORS}
        )
        with torch.no_grad():
            for parameter in self.heads.parameters():
                parameter.mul_(0.1)

    def forward(self, noisy: Tensor, sigma: Tensor, factor: int) -> Tensor:
        """Enlarge a batch.

        Args:
            noisy: (B, 1, h, w), in [0, 1] before noise was added.
            sigma: Noise standard deviation on the [0, 1] scale: a scalar or (B, 1, 1, 1).
            factor: f, one of `FACTORS`.

        Returns:
            The enlarged images, (B, 1, H, W), not clipped.
        """
        height, width = noisy.shape[-2:]
        extended, top, left = reflect(noisy, self.config.smallest_side, self.config.multiple)
        image = functional.pixel_unshuffle(extended, SHUFFLE)
        told = [value.expand(len(image), 1, *image.shape[-2:]) for value in (sigma.to(image.dtype), factor_plane(factor, image))]
        residual = self.heads[str(factor)](self.features(torch.cat((image, *told), 1), image))
        rows, columns = slice(factor * top, factor * (top + height)), slice(factor * left, factor * (left + width))
        return enlarge(noisy, factor) + functional.pixel_shuffle(residual, SHUFFLE * factor)[..., rows, columns]


def factor_plane(factor: int, like: Tensor) -> Tensor:
    """Return the value by which the network is told the factor, (1, 1, 1, 1), of the dtype and on the device of a tensor."""
    return like.new_full((1, 1, 1, 1), factor / max(FACTORS))


@dataclass(frozen=True, kw_only=True)
class EarlyUpscalingConfig(N3NetConfig):
    """The geometry of an `EarlyUpscalingNet`: by default 20 convolutions as in VDSR, with one N3 block in their middle."""

    depth: int = 10
    blocks: int = 1

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        super().check()
        if not self.sigma_plane:
            raise ValueError("a network for super-resolution has a sigma plane")

    def build(self) -> "EarlyUpscalingNet":  # type: ignore[override]
        """Return a network of this geometry with fresh weights."""
        return EarlyUpscalingNet(self)


class EarlyUpscalingNet(nn.Module):
    """The form of the paper (Plötz & Roth 2018): an N3Net on the bicubically enlarged image, like VDSR (Kim et al. 2016).

    All layers compute at the resolution of the output, so it costs many times as much as an `UpscalingNet`.
    """

    def __init__(self, config: EarlyUpscalingConfig) -> None:
        """Build the network."""
        super().__init__()
        self.config = config
        self.net = N3Net(config)

    def forward(self, noisy: Tensor, sigma: Tensor, factor: int) -> Tensor:
        """Enlarge a batch; see `UpscalingNet.forward`."""
        return self.net(enlarge(noisy, factor), sigma)  # type: ignore[no-any-return]
