"""A small network that sees how strong the noise of a color picture is, everywhere in the picture.

Its first part measures, in each cell of 8 x 8 pixels, the energy of learned filters of the pixels. Its second part decides,
from the log-energies of a wide neighborhood, which of this is noise: flat cells tell the noise of textured ones.

Letters: B batch, F features, H x W pixels, h x w cells.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.images.noise_map import CELL
from models.networks.stored_config import StoredConfig

SHUFFLE = 2
"""Pixels of the picture along each side of a pixel of the filters."""
LOCAL_REACH = 3 * SHUFFLE
"""Pixels around a cell that can influence its energies."""
LEAST_VARIANCE = (0.25 / 255) ** 2
"""Variances are estimated down to this value. Pictures that are rounded to 8 bits vary by more."""
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
    """

    channels: int = 3
    filters: int = 32
    features: int = 64

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        if self.channels != 3 or not all(type(count) is int and count > 0 for count in (self.filters, self.features)):
            raise ValueError("channels must be 3, and filters and features must be positive integers")

    def build(self) -> "NoiseLevelNet":
        """Return a network of this geometry with fresh weights."""
        return NoiseLevelNet(self)


class NoiseLevelNet(nn.Module):
    """The network: `local` on pixels, then `context` on cells."""

    def __init__(self, config: NoiseLevelConfig) -> None:
        """Build the network."""
        super().__init__()
        self.config = config
        filters, features = config.filters, config.features
        planes = config.channels * SHUFFLE**2
        self.filters = nn.Sequential(
            nn.Conv2d(planes, filters, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1),
        )
        self.first = nn.Sequential(_convolution(filters + config.channels, features), _convolution(features, features))
        self.down = nn.ModuleList(nn.Conv2d(features, features, 2, stride=2) for _ in range(_DEPTH - 1))
        self.levels = nn.ModuleList(
            nn.Sequential(_convolution(features, features), _convolution(features, features)) for _ in range(_DEPTH - 1)
        )
        self.up = nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(_DEPTH - 1))
        self.last = nn.Sequential(_convolution(features, features), nn.Conv2d(features, 2, 1))

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate the noise of pictures.

        Args:
            noisy: (B, 3, H, W), with white at 1.0; H and W are multiples of `CELL`.

        Returns:
            The logarithm of the variance of the noise in each cell, (B, 2, h, w), for luma and the color differences.
        """
        return self.context(self.local(noisy))

    @torch.no_grad()
    def estimate(self, noisy: Tensor) -> Tensor:
        """Return noise level maps, (B, 2, h, w), see `models.images.noise_map`; the input is that of `forward`."""
        return (self.forward(noisy) / 2).exp()

    def local(self, noisy: Tensor) -> Tensor:
        """Return the features of each cell, (B, F, h, w): log-energies of the filters, and the mean of each channel."""
        pixels = functional.pixel_unshuffle(noisy - 0.5, SHUFFLE)
        first = self.filters[0]
        assert isinstance(first, nn.Conv2d)
        maps = self.filters(pixels.to(first.weight.dtype)).float()
        energies = functional.avg_pool2d(maps.square(), CELL // SHUFFLE)
        return torch.cat(((energies + 1e-8).log(), functional.avg_pool2d(noisy, CELL) - 0.5), 1)

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
