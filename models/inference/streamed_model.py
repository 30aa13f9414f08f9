"""What the networks that compute strip by strip have in common: how they are loaded, and how an image is cut for them."""

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from models import machine
from models.images.noise import check_sigma
from models.inference.cut_plan import BATCH, CUDA_BATCH, CUDA_STRIP_PIXELS, STRIP_PIXELS, Plan, least_budget, make_plan
from models.inference.device import DType, choose_device, choose_dtype, default_budget, device_name
from models.inference.footprint import footprint
from models.inference.fused_block import trial_failure, unfused_reason
from models.model_info import ModelInfo
from models.networks.config import AnyConfig
from models.networks.correspondence_net import CorrespondenceConfig
from models.networks.n3net import N3NetConfig, reflect
from models.networks.n3unet import N3UNetConfig
from models.networks.noise_level_net import NoiseLevelConfig
from models.networks.upscaling_net import EarlyUpscalingConfig, UpscalingConfig
from models.weights.files import Weights, WeightsError, load_weights

PURPOSES: dict[type, str] = {
    CorrespondenceConfig: "classify matches",
    N3NetConfig: "remove noise",
    N3UNetConfig: "remove noise",
    NoiseLevelConfig: "estimate noise",
    UpscalingConfig: "enlarge images",
    EarlyUpscalingConfig: "are for evaluation only",
}
"""What weights are for, by the type of their configuration."""


class StreamedModel:
    """A network on a device. It keeps no state between images.

    Attributes:
        weights: The weights that it was loaded from.
        config: The network's configuration.
        footprint: What the network demands of memory.
        device: The device that computes.
        dtype: Data type of the convolutions; everything else is float32.
        memory_budget: Bytes that it may use in addition to the image and the result.
        unfused_reason: Why the N3 blocks cannot run as one fused kernel; None if they can.
    """

    NAME: ClassVar[str]
    """The default name by which callers select the method."""
    WEIGHTS: ClassVar[str]
    """The name of the default weights."""
    CONFIGS: ClassVar[tuple[type[AnyConfig], ...]]
    """The configurations of the networks that can do its work."""
    WORK: ClassVar[str]
    """What it does, as a verb."""

    def __init__(
        self,
        weights: Weights,
        device: torch.device,
        dtype: torch.dtype,
        memory_budget: int,
        *,
        name: str | None = None,
        fallback_reason: str | None = None,
    ) -> None:
        """Prepare a network for a device.

        Args:
            weights: The trained weights.
            device: The device that will compute.
            dtype: Data type of the convolutions.
            memory_budget: Bytes that the computation may use in addition to the image and the result.
            name: The name by which callers select the method; None for `NAME`.
            fallback_reason: Why "auto" chose the CPU; None if a GPU is used or the CPU was requested.
        """
        self.weights, self.config, self.footprint = weights, weights.config, footprint(weights.config)
        self.device, self.dtype, self.memory_budget = device, dtype, memory_budget
        self.unfused_reason = unfused_reason(self.footprint.block, device, dtype)
        if self.unfused_reason is None and self.footprint.blocks:
            self.unfused_reason = trial_failure(self.footprint.block, device, dtype)
        self._name, self._fallback_reason = name or self.NAME, fallback_reason
        self._fold(weights.network())

    def _fold(self, network: nn.Module) -> None:
        """Keep the network in the form for inference, on the device."""
        raise NotImplementedError

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        device: str = "auto",
        dtype: DType = "auto",
        memory_budget: int | None = None,
        name: str | None = None,
    ) -> Self:
        """Load a model. Call this in the thread that will compute, before that thread's first torch operation.

        Args:
            weights: A name (see `models.weights.files.weights_names`) or the path of a weights file; None for `WEIGHTS`.
            device: See `models.inference.device.choose_device`.
            dtype: Data type of the convolutions, see `models.inference.device.choose_dtype`.
            memory_budget: Bytes that the computation may use in addition to the image and the result; None for
                `models.inference.device.default_budget`.
            name: The name by which callers select the method; None for `NAME`.

        Raises:
            WeightsError: If the weights cannot be loaded, or are those of a network for another purpose.
            ValueError: If the device or the dtype is unknown, the device does not exist, or the budget is so small that
                the computation would take many times as long (`models.inference.cut_plan.least_budget`).
        """
        machine.flush_denormals()
        torch.set_num_threads(min(torch.get_num_threads(), machine.usable_cores()))
        chosen, reason = choose_device(device)
        torch.backends.cudnn.allow_tf32 = False  # convolutions in float32 keep the precision of float32 on a GPU too
        budget = default_budget(chosen) if memory_budget is None else memory_budget
        loaded = load_weights(weights or cls.WEIGHTS)
        if type(loaded.config) not in cls.CONFIGS:
            raise WeightsError(f"the weights {loaded.name} {PURPOSES[type(loaded.config)]} and cannot {cls.WORK}")
        model = cls(loaded, chosen, choose_dtype(dtype, chosen), budget, name=name, fallback_reason=reason)
        if memory_budget is not None and memory_budget < (least := model.least_budget):
            raise ValueError(f"the memory budget must be at least {least >> 20} MiB for the network {loaded.name}")
        return model

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
        )

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for gray images (H, W), 3 for RGB images (3, H, W)."""
        return self.config.channels

    @property
    def can_shrink(self) -> bool:
        """Whether `steps` may be called with `shrink` 2: half of the budget is still enough for full speed."""
        return self.memory_budget // 2 >= self.least_budget

    @property
    def smallest_side(self) -> int:
        """Pixels along each side to which smaller images are extended."""
        return self.footprint.smallest * self.footprint.scale

    @property
    def least_budget(self) -> int:
        """The smallest budget in bytes at which the computation does not slow down on this device."""
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

    def _check_image(self, noisy: Tensor) -> None:
        """Check that a tensor is an image of this network.

        Raises:
            ValueError: If it is not.
        """
        shape = "(H, W)" if self.channels == 1 else f"({self.channels}, H, W)"
        planes = noisy.shape[:-2] if self.channels > 1 else (1, *noisy.shape[:-2])
        if tuple(planes) != (self.channels,) or noisy.ndim < 2 or not noisy.numel() or noisy.dtype != torch.float32:
            raise ValueError(
                f"an image must be a float32 tensor {shape} with at least one pixel, but is {noisy.dtype} {tuple(noisy.shape)}"
            )

    def _check_sigma(self, sigma: float) -> None:
        """Check a noise level on the [0, 1] scale.

        Raises:
            ValueError: If it is outside the range of the weights.
        """
        check_sigma(sigma * 255, self.weights.sigma_range)

    def _extended(self, planes: Tensor) -> tuple[Tensor, int, int]:
        """Extend planes (..., H, W) by reflection to a size that suits the network.

        Returns:
            (1, C, H', W'), and the number of rows added at the top and of columns added at the left.
        """
        height, width = planes.shape[-2:]
        return reflect(planes.view(1, -1, height, width), self.smallest_side, self.footprint.multiple * self.footprint.scale)
