"""A trained network that is ready to denoise images of any size, in bounded memory."""

from collections.abc import Generator
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from models import machine
from models.images.noise import check_sigma
from models.images.noise_map import CELL, WHITE
from models.inference.cut_plan import BATCH, CUDA_BATCH, CUDA_STRIP_PIXELS, STRIP_PIXELS, Plan, least_budget, make_plan
from models.inference.device import DType, choose_device, choose_dtype, default_budget, device_name
from models.inference.footprint import footprint
from models.inference.fused_block import unfused_reason
from models.inference.n3net_stream import fold_n3net
from models.inference.n3unet_stream import fold_n3unet
from models.inference.neighborhood import block_facts, neighbor_steps
from models.inference.noise_levels import CellLevels, NoiseLevels, PixelLevels, UniformLevels
from models.inference.strips import StreamedNetwork, denoise_strips
from models.inference.transfers import Transfers
from models.model_info import ModelInfo
from models.neighbors.neighborhood import NeighborQuery
from models.networks.n3net import N3Net, reflect
from models.networks.n3unet import N3UNet
from models.networks.noise_level_net import NoiseLevelConfig
from models.steps import run_through
from models.weights.files import Weights, WeightsError, load_weights


class Denoiser:
    """A network on a device. It keeps no state between images.

    Attributes:
        weights: The weights that it was loaded from.
        config: The network's configuration.
        footprint: What the network demands of memory.
        network: The network on the device, in the form for inference.
        device: The device that computes.
        dtype: Data type of the convolutions; everything else is float32.
        memory_budget: Bytes that denoising may use in addition to the image.
        unfused_reason: Why the N3 blocks cannot run as one fused kernel; None if they can.
    """

    def __init__(
        self,
        weights: Weights,
        device: torch.device,
        dtype: torch.dtype,
        memory_budget: int,
        *,
        name: str = "n3net",
        fallback_reason: str | None = None,
    ) -> None:
        """Prepare a network for a device.

        Args:
            weights: The trained weights.
            device: The device that will compute.
            dtype: Data type of the convolutions.
            memory_budget: Bytes that denoising may use in addition to the image.
            name: The name by which callers select the method.
            fallback_reason: Why "auto" chose the CPU; None if a GPU is used or the CPU was requested.
        """
        self.weights, self.config, self.footprint = weights, weights.config, footprint(weights.config)
        self.network = fold(weights.network(), device, dtype)
        self.device, self.dtype, self.memory_budget = device, dtype, memory_budget
        self.unfused_reason = unfused_reason(self.footprint.block, device, dtype)
        self._name, self._fallback_reason = name, fallback_reason

    @classmethod
    def load(
        cls,
        weights: str | Path = "default",
        device: str = "auto",
        dtype: DType = "auto",
        memory_budget: int | None = None,
        name: str = "n3net",
    ) -> Self:
        """Load a denoiser. Call this in the thread that will compute, before that thread's first torch operation.

        Args:
            weights: A name (see `models.weights.files.weights_names`) or the path of a weights file.
            device: See `models.inference.device.choose_device`.
            dtype: Data type of the convolutions, see `models.inference.device.choose_dtype`.
            memory_budget: Bytes that denoising may use in addition to the image; None for
                `models.inference.device.default_budget`.
            name: The name by which callers select the method.

        Raises:
            WeightsError: If the weights cannot be loaded.
            ValueError: If the device or the dtype is unknown, the device does not exist, or the budget is so small that
                denoising would take many times as long (`models.inference.cut_plan.least_budget`).
        """
        machine.flush_denormals()
        torch.set_num_threads(min(torch.get_num_threads(), machine.usable_cores()))
        chosen, reason = choose_device(device)
        torch.backends.cudnn.allow_tf32 = False  # convolutions in float32 keep the precision of float32 on a GPU too
        budget = default_budget(chosen) if memory_budget is None else memory_budget
        loaded = load_weights(weights)
        if isinstance(loaded.config, NoiseLevelConfig):
            raise WeightsError(f"the weights {loaded.name} estimate noise and cannot denoise")
        denoiser = cls(loaded, chosen, choose_dtype(dtype, chosen), budget, name=name, fallback_reason=reason)
        if memory_budget is not None and memory_budget < (least := denoiser.least_budget):
            raise ValueError(f"the memory budget must be at least {least >> 20} MiB for the network {loaded.name}")
        return denoiser

    @property
    def info(self) -> ModelInfo:
        """Facts about the method and its device."""
        return ModelInfo(
            name=self._name,
            weights=self.weights.name,
            weights_sha256=self.weights.sha256,
            facts=dict(self.weights.facts),
            sigma_range=self.weights.sigma_range,
            device=self.device.type,
            device_name=device_name(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            fallback_reason=self._fallback_reason,
            smallest_side=self.smallest_side,
            channels=self.channels,
            blocks=block_facts(self.network, self.footprint),
        )

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for gray images (H, W), 3 for RGB images (3, H, W)."""
        return self.config.channels

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

    @property
    def can_shrink(self) -> bool:
        """Whether `steps` may be called with `shrink` 2: half of the budget is still enough to denoise at full speed."""
        return self.memory_budget // 2 >= self.least_budget

    @property
    def smallest_side(self) -> int:
        """Pixels along each side to which smaller images are extended."""
        return self.footprint.smallest * self.footprint.scale

    @property
    def least_budget(self) -> int:
        """The smallest budget in bytes at which denoising does not slow down on this device."""
        strip_pixels, batch = self._strip
        return least_budget(self.footprint, strip_pixels=strip_pixels, batch=batch, fused=self.unfused_reason is None)

    def plan(self, height: int, width: int, shrink: int = 1, *, fused: bool | None = None) -> Plan:
        """Return how an image is cut.

        Args:
            height: Rows of the image.
            width: Columns of the image.
            shrink: Divisor of the strip size and of the memory budget.
            fused: Whether the N3 blocks run as one fused kernel; None means whenever they can.
        """
        strip_pixels, batch = self._strip
        smallest, multiple, scale = self.footprint.smallest, self.footprint.multiple, self.footprint.scale
        rows, columns = (max(smallest, -(-side // (scale * multiple)) * multiple) for side in (height, width))
        return make_plan(
            self.footprint,
            rows,
            columns,
            self.memory_budget // shrink,
            strip_pixels=strip_pixels // shrink,
            batch=max(1, batch // shrink),
            fused=self.unfused_reason is None if fused is None else fused,
        )

    @property
    def _strip(self) -> tuple[int, int]:
        """Pixels of a strip at the finest level, and blocks of queries that are computed at a time, if the budget allows."""
        pixels, batch = (CUDA_STRIP_PIXELS, CUDA_BATCH) if self.device.type == "cuda" else (STRIP_PIXELS, BATCH)
        return pixels // self.footprint.scale**2, batch

    def _check(self, noisy: Tensor, sigma: float | Tensor) -> None:
        shape = "(H, W)" if self.channels == 1 else f"({self.channels}, H, W)"
        planes = noisy.shape[:-2] if self.channels > 1 else (1, *noisy.shape[:-2])
        if tuple(planes) != (self.channels,) or noisy.ndim < 2 or not noisy.numel() or noisy.dtype != torch.float32:
            raise ValueError(
                f"an image must be a float32 tensor {shape} with at least one pixel, but is {noisy.dtype} {tuple(noisy.shape)}"
            )
        if isinstance(sigma, Tensor):
            size = tuple(noisy.shape[-2:])
            if self._noise_planes == 2:
                size = (2, *(-(-side // CELL) for side in size))
            if tuple(sigma.shape) != size or sigma.dtype != torch.float32:
                raise ValueError(f"a map of sigma for this image must be a float32 tensor {size}, but is {tuple(sigma.shape)}")
            check_sigma(float(sigma.min()) * 255, self.weights.sigma_range)
            check_sigma(float(sigma.max()) * 255, self.weights.sigma_range)
        else:
            check_sigma(sigma * 255, self.weights.sigma_range)

    @torch.inference_mode()
    def _steps(self, noisy: Tensor, sigma: float | Tensor, plan: Plan) -> Generator[float, None, Tensor]:
        height, width = noisy.shape[-2:]
        images, levels, top, left = self._prepared(noisy, sigma)
        transfers = Transfers(images, self.device)
        scale = self.footprint.scale
        yield from denoise_strips(self.network, transfers, images.shape[-2] // scale, levels, plan, scale)
        return transfers.finish()[0, :, top : top + height, left : left + width].reshape(noisy.shape)

    def _prepared(self, noisy: Tensor, sigma: float | Tensor) -> tuple[Tensor, NoiseLevels, int, int]:
        """Extend an image to a size that suits the network; return also its noise levels, and the rows and columns added."""
        height, width = noisy.shape[-2:]
        size = self.smallest_side, self.footprint.multiple * self.footprint.scale
        images, top, left = reflect(noisy.view(1, -1, height, width), *size)
        if not isinstance(sigma, Tensor):
            factors = WHITE if self._noise_planes == 2 else (1.0,)
            return images, UniformLevels(tuple(factor * sigma for factor in factors), self.device), top, left
        if self._noise_planes == 2:
            return images, CellLevels(sigma, self.device, top, left), top, left
        return images, PixelLevels(reflect(sigma[None, None], *size)[0], self.device), top, left


def fold(network: nn.Module, device: torch.device, dtype: torch.dtype) -> StreamedNetwork:
    """Return a network in the form for inference on a device, with convolutions in the given dtype."""
    if isinstance(network, N3Net):
        return fold_n3net(network, device, dtype)
    assert isinstance(network, N3UNet)
    return fold_n3unet(network, device, dtype)
