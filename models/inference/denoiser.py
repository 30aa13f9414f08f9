"""A trained network that is ready to denoise images of any size, in bounded memory."""

from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.images.noise_map import CELL, WHITE
from models.inference.cut_plan import Plan
from models.inference.n3net_stream import fold_n3net
from models.inference.n3unet_stream import fold_n3unet
from models.inference.neighborhood import block_facts, neighbor_steps
from models.inference.noise_levels import CellLevels, NoiseLevels, PixelLevels, UniformLevels
from models.inference.streamed_model import StreamedModel
from models.inference.strips import StreamedNetwork, compute_strips
from models.inference.transfers import Transfers
from models.model_info import ModelInfo
from models.neighbors.neighborhood import NeighborQuery
from models.networks.n3net import N3Net, N3NetConfig
from models.networks.n3unet import N3UNet, N3UNetConfig
from models.steps import run_through
from models.weights.files import DEFAULT_NAME


class Denoiser(StreamedModel):
    """A network that denoises, on a device.

    Attributes:
        network: The network on the device, in the form for inference.
    """

    NAME = DEFAULT_NAME
    WEIGHTS = "default"
    CONFIGS = (N3NetConfig, N3UNetConfig)
    WORK = "denoise"

    def _fold(self, network: nn.Module) -> None:
        self.network = fold(network, self.device, self.dtype)

    @property
    def info(self) -> ModelInfo:
        """Facts about the method, its N3 blocks and its device."""
        return replace(super().info, blocks=block_facts(self.network, self.footprint))

    @property
    def _noise_planes(self) -> int:
        return self.network.noise_planes

    def denoise(self, noisy: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise one image.

        Args:
            noisy: y, (H, W) or, for a color network, (3, H, W); float32, in [0, 1] before noise was added; at least one pixel.
            sigma: Noise standard deviation on the [0, 1] scale. A map gives each pixel its own: (H, W), or (2, h, w) as in
                `models.images.noise_map` for a network with two noise planes.

        Returns:
            x̂, of the same shape, float32, on the CPU, not clipped.

        Raises:
            ValueError: If the image or the map is not such a tensor, or sigma is outside the range of the weights.
        """
        return run_through(self.steps(noisy, sigma))

    def steps(self, noisy: Tensor, sigma: float | Tensor, *, shrink: int = 1) -> Generator[float, None, Tensor]:
        """Denoise one image strip by strip, so that a caller can interleave several images or stop.

        Args:
            noisy: See `denoise`.
            sigma: See `denoise`.
            shrink: Divisor of the strip size and of the memory budget.

        Returns:
            A generator that yields the fraction done after each part of a strip, rising to 1, and returns what `denoise` returns.

        Raises:
            ValueError: See `denoise`. The call itself raises it, not the first step.
        """
        self._check(noisy, sigma)
        height, width = noisy.shape[-2:]
        return self._steps(noisy, sigma, self.plan(height, width, shrink))

    def planned_steps(self, noisy: Tensor, sigma: float | Tensor, plan: Plan) -> Generator[float, None, Tensor]:
        """Denoise one image like `steps`, but with a given plan. The result does not depend on the plan, except for rounding.

        The plan must be one for an image of this size, see `plan`.
        """
        self._check(noisy, sigma)
        return self._steps(noisy, sigma, plan)

    def neighbor_steps(self, noisy: Tensor, sigma: float | Tensor, query: NeighborQuery) -> Generator[float, None, Tensor]:
        """Find the patches that an N3 block averages for one pixel when it denoises an image, from a crop around the pixel.

        Args:
            noisy: See `denoise`.
            sigma: See `denoise`.
            query: The pixel, and the N3 block.

        Returns:
            A generator that yields the fraction done, and returns the table that `Neighborhood.parse` takes.

        Raises:
            ValueError: See `denoise`; or if the pixel is not inside the image, or there is no such block.
        """
        self._check(noisy, sigma)
        height, width = noisy.shape[-2:]
        if not (0 <= query.x < width and 0 <= query.y < height):
            raise ValueError("the pixel must lie inside the image")
        if not 1 <= query.block <= len(self.network.blocks):
            raise ValueError(f"the network has no N3 block {query.block}, because it has {len(self.network.blocks)} N3 blocks")
        images, levels, top, left = self._prepared(noisy, sigma)
        place = (query.y + top, query.x + left)
        return neighbor_steps(self.network, self.footprint, images, levels, place, query.block - 1, (top, left))

    def _check(self, noisy: Tensor, sigma: float | Tensor) -> None:
        self._check_image(noisy)
        if isinstance(sigma, Tensor):
            size = tuple(noisy.shape[-2:])
            if self._noise_planes == 2:
                size = (2, *(-(-side // CELL) for side in size))
            if tuple(sigma.shape) != size or sigma.dtype != torch.float32:
                raise ValueError(f"a map of sigma for this image must be a float32 tensor {size}, but is {tuple(sigma.shape)}")
            self._check_sigma(float(sigma.min()))
            self._check_sigma(float(sigma.max()))
        else:
            self._check_sigma(sigma)

    @torch.inference_mode()
    def _steps(self, noisy: Tensor, sigma: float | Tensor, plan: Plan) -> Generator[float, None, Tensor]:
        height, width = noisy.shape[-2:]
        images, levels, top, left = self._prepared(noisy, sigma)
        transfers = Transfers(images, self.device)
        scale = self.footprint.scale
        yield from compute_strips(self.network, transfers, images.shape[-2] // scale, levels, plan, scale)
        return transfers.finish()[0, :, top : top + height, left : left + width].reshape(noisy.shape)

    def _prepared(self, noisy: Tensor, sigma: float | Tensor) -> tuple[Tensor, NoiseLevels, int, int]:
        """Extend an image to a size that suits the network; return also its noise levels, and the rows and columns added."""
        images, top, left = self._extended(noisy)
        if not isinstance(sigma, Tensor):
            factors = WHITE if self._noise_planes == 2 else (1.0,)
            return images, UniformLevels(tuple(factor * sigma for factor in factors), self.device), top, left
        if self._noise_planes == 2:
            return images, CellLevels(sigma, self.device, top, left), top, left
        return images, PixelLevels(self._extended(sigma)[0], self.device), top, left


def fold(network: nn.Module, device: torch.device, dtype: torch.dtype) -> StreamedNetwork:
    """Return a network in the form for inference on a device, with convolutions in the given dtype."""
    if isinstance(network, N3Net):
        return fold_n3net(network, device, dtype)
    assert isinstance(network, N3UNet)
    return fold_n3unet(network, device, dtype)
