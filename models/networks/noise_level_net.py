"""A small network that sees how strong the noise of a color picture is, everywhere in the picture.

Its first part measures, in each cell of 8 x 8 pixels, the energy of learned filters of the pixels, and the energy of the noise
that it separates from the picture as well as a small network can. Its second part decides, from the log-energies of a wide
neighborhood, which of this is noise: flat cells tell the noise of textured ones.

Letters: B batch, F features, H x W pixels, h x w cells.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.images.noise_map import CELL, cell_variances
from models.networks.n3unet import ResidualBlock
from models.networks.stored_config import StoredConfig

SHUFFLE = 2
"""Pixels of the picture along each side of a pixel of the filters."""
LEAST_VARIANCE = (0.25 / 255) ** 2
"""Variances are estimated down to this value. Pictures that are rounded to 8 bits vary by more."""
TEXTURE_VARIANCE = 1.25 / 255**2
"""Variance that the estimate of a clean picture has left on average, because of its texture. It is subtracted from all estimates;
those of visible noise hardly change."""
CONTEXT_REACH = 20
"""Cells around a cell that can influence its noise level."""
CONTEXT_MULTIPLE = 4
"""The second part may be applied to parts of a picture that begin at multiples of this number of cells."""

_DEPTH = 3  # resolutions of the second part


@dataclass(frozen=True, kw_only=True)
class NoiseLevelConfig(StoredConfig):
    """The geometry of a `NoiseLevelNet`.

    Attributes:
        channels: Image channels; always 3.
        filters: Planes of the filters in the first part.
        features: Features in the second part.
        blocks: Residual blocks before the last filters.
    """

    channels: int = 3
    filters: int = 32
    features: int = 64
    blocks: int = 3

    @property
    def local_reach(self) -> int:
        """Pixels around a cell that can influence its energies."""
        return SHUFFLE * (3 + 2 * self.blocks)

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        if self.channels != 3 or not all(type(count) is int and count > 0 for count in (self.filters, self.features)):
            raise ValueError("channels must be 3, and filters and features must be positive integers")
        if type(self.blocks) is not int or self.blocks < 0:
            raise ValueError("blocks must be a non-negative integer")

    def build(self) -> "NoiseLevelNet":
        """Return a network of this geometry with fresh weights."""
        return NoiseLevelNet(self)


class NoiseEstimate(NamedTuple):
    """What the network returns.

    Attributes:
        log_variances: The logarithm of the variance of the noise in each cell, (B, 2, h, w), for luma and the color differences.
        noise: The noise of each pixel as far as the first part can tell, (B, 3, H, W). Training compares it with the true noise.
    """

    log_variances: Tensor
    noise: Tensor


class NoiseLevelNet(nn.Module):
    """The network: `local` on pixels, then `context` on cells."""

    def __init__(self, config: NoiseLevelConfig) -> None:
        """Build the network."""
        super().__init__()
        self.config = config
        filters, features = config.filters, config.features
        planes = config.channels * SHUFFLE**2
        self.start = nn.Sequential(_convolution(planes, filters), _convolution(filters, filters))
        self.blocks = nn.Sequential(*(ResidualBlock(filters) for _ in range(config.blocks)))
        self.filters = nn.Conv2d(filters, filters, 3, padding=1)
        self.separated = nn.Conv2d(filters, planes, 3, padding=1)
        self.first = nn.Sequential(_convolution(filters + 2 + config.channels, features), _convolution(features, features))
        self.down = nn.ModuleList(nn.Conv2d(features, features, 2, stride=2) for _ in range(_DEPTH - 1))
        self.levels = nn.ModuleList(
            nn.Sequential(_convolution(features, features), _convolution(features, features)) for _ in range(_DEPTH - 1)
        )
        self.up = nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(_DEPTH - 1))
        self.last = nn.Sequential(_convolution(features, features), nn.Conv2d(features, 2, 1))

    def forward(self, noisy: Tensor) -> NoiseEstimate:
        """Estimate the noise of pictures.

        Args:
            noisy: (B, 3, H, W), with white at 1.0; H and W are multiples of `CELL`.
        """
        maps = self.pixels(noisy)
        noise = self.noise(maps)
        return NoiseEstimate(self.context(self.cells(noisy, maps, noise)), noise)

    @torch.no_grad()
    def estimate(self, noisy: Tensor) -> Tensor:
        """Return noise level maps, (B, 2, h, w), see `models.images.noise_map`; the input is that of `forward`."""
        return self.noise_levels(self.forward(noisy).log_variances)

    @staticmethod
    def noise_levels(log_variances: Tensor) -> Tensor:
        """Return the levels that estimated variances stand for, both (B, 2, h, w), without what texture adds to them."""
        return (log_variances.exp() - TEXTURE_VARIANCE).clamp(min=LEAST_VARIANCE).sqrt()

    def local(self, noisy: Tensor) -> Tensor:
        """Return the features of each cell, (B, F, h, w), which `context` takes."""
        maps = self.pixels(noisy)
        return self.cells(noisy, maps, self.noise(maps))

    def pixels(self, noisy: Tensor) -> Tensor:
        """Return what the filters and the separated noise are computed from, (B, F, H/2, W/2)."""
        first = self.filters.weight
        maps = self.start(functional.pixel_unshuffle(noisy - 0.5, SHUFFLE).to(first.dtype))
        return self.blocks(maps)  # type: ignore[no-any-return]

    def noise(self, maps: Tensor) -> Tensor:
        """Return the separated noise, (B, 3, H, W)."""
        return functional.pixel_shuffle(self.separated(maps).float(), SHUFFLE)

    def cells(self, noisy: Tensor, maps: Tensor, noise: Tensor) -> Tensor:
        """Return the features of each cell: log-energies of the filters and of the noise, and the mean of each channel."""
        energies = functional.avg_pool2d(self.filters(maps).float().square(), CELL // SHUFFLE)
        logarithms = (torch.cat((energies, cell_variances(noise)), 1) + 1e-8).log()
        return torch.cat((logarithms, functional.avg_pool2d(noisy, CELL) - 0.5), 1)

    def context(self, cells: Tensor) -> Tensor:
        """Return what `forward` returns, given what `local` returned."""
        maps = self.first(cells)
        skipped = []
        for down, level in zip(self.down, self.levels, strict=True):
            skipped.append(maps)
            # An odd row or column is repeated, so that no cell is lost.
            height, width = maps.shape[-2:]
            maps = level(down(functional.pad(maps, (0, width % 2, 0, height % 2), mode="replicate")))
        for up, above in zip(reversed(self.up), reversed(skipped), strict=True):
            fine = functional.interpolate(up(maps), scale_factor=2, mode="nearest")
            maps = above + fine[..., : above.shape[-2], : above.shape[-1]]
        least = math.log(LEAST_VARIANCE)
        return least + functional.softplus(self.last(maps).float() - least)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())
