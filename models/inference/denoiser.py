"""Denoiser: weights and a device, and from then on noisy image in, denoised image out. It keeps no state between images."""

from collections.abc import Generator
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from models import machine
from models.images.noise import check_sigma
from models.inference.cut_plan import BATCH, CUDA_BATCH, CUDA_STRIP_PIXELS, STRIP_PIXELS, Plan, make_plan
from models.inference.folding import fold
from models.inference.fused_block import unfused_reason
from models.inference.stream import NetworkStage, Shape
from models.inference.transfers import Transfers
from models.model_info import ModelInfo
from models.networks.n3net import N3Net, N3NetConfig, reflect
from models.steps import run_through
from models.weights.files import Weights, WeightsError, load_weights

DType = Literal["auto", "float32", "bfloat16", "float16"]


class Denoiser:
    """A network that is ready to denoise images of any size, in bounded memory.

    Attributes:
        weights: What it was loaded from, without the tensors' use: name, sigma range, SHA-256, facts.
        device: Where it computes.
        dtype: What its convolutions are computed in; everything else is float32.
        config: The network's configuration.
        network: The weights as inference needs them, on the device.
        fallback_reason: Why "auto" chose the CPU, or None when a GPU is used or the CPU was asked for.
        unfused_reason: Why the N3 blocks do not run as one fused kernel, or None where they do.
        memory_budget: Bytes that denoising may hold beside the image.
        denormals_flushed: Whether the loading thread and its workers treat denormal numbers as zero.
    """

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype, memory_budget: int) -> None:
        if not isinstance(weights.config, N3NetConfig):
            raise WeightsError(f"{weights.name} holds a network that can be trained here, but not yet run")
        self.weights, self.config = weights, weights.config
        self.device = device
        self.dtype = dtype
        self.memory_budget = memory_budget
        self.model = "n3net"
        self.fallback_reason: str | None = None
        self.unfused_reason = unfused_reason(self.config, device, dtype)
        self.denormals_flushed = False
        network = weights.network()
        assert isinstance(network, N3Net)
        self.network = fold(network, device, dtype)

    can_shrink = True

    @classmethod
    def load(
        cls,
        weights: str | Path = "default",
        device: str = "auto",
        dtype: DType = "auto",
        memory_budget: int | None = None,
        name: str = "n3net",
    ) -> Self:
        """Load a denoiser. Call it in the thread that is going to compute, before that thread's first torch operation.

        Args:
            weights: A name (`models.weights.files.weights_names()`) or the path of a weights file.
            device: "auto" takes a GPU where torch sees one, else the CPU; or a torch device such as "cpu" or "cuda:1".
            dtype: What the convolutions are computed in. "auto" takes bfloat16 where the CPU has AMX or AVX512-BF16, and
                float16 on a GPU, which has more digits than bfloat16 and as much speed; else float32.
            memory_budget: Bytes that denoising may hold beside the image; a quarter of what is free on the device unless told,
                and no more than 1 GiB on a CPU and 4 GiB on a GPU.
            name: The name by which callers select the model.

        Raises:
            WeightsError: If the weights cannot be loaded.
            ValueError: If the device or dtype is unknown, the device is not there, or the budget is not positive.
        """
        flushed = machine.flush_denormals()
        torch.set_num_threads(min(torch.get_num_threads(), machine.usable_cores()))
        chosen, reason = choose_device(device)
        torch.backends.cudnn.allow_tf32 = False  # of a GPU's convolutions too: float32 means float32
        if memory_budget is None:
            memory_budget = default_budget(chosen)
        if memory_budget < 1:
            raise ValueError(f"the memory budget must be positive, but is {memory_budget}")
        denoiser = cls(load_weights(weights), chosen, choose_dtype(dtype, chosen), memory_budget)
        denoiser.fallback_reason, denoiser.denormals_flushed, denoiser.model = reason, flushed, name
        return denoiser

    @property
    def info(self) -> ModelInfo:
        """Facts about the model and its device."""
        cuda = self.device.type == "cuda"
        return ModelInfo(
            name=self.model,
            weights=self.weights.name,
            weights_sha256=self.weights.sha256,
            facts=dict(self.weights.facts),
            sigma_range=self.weights.sigma_range,
            device=self.device.type,
            device_name=torch.cuda.get_device_name(self.device) if cuda else machine.cpu_name(),
            dtype=str(self.dtype).removeprefix("torch."),
            fallback_reason=self.fallback_reason,
        )

    @property
    def name(self) -> str:
        """The name of the weights."""
        return self.weights.name

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and greatest noise level that the weights are for, on the 0-255 scale."""
        return self.weights.sigma_range

    def denoise(self, noisy: Tensor, sigma: float) -> Tensor:
        """Denoise one image.

        Args:
            noisy: y, (H, W), float32, in [0, 1] before noise was added; at least one pixel.
            sigma: Standard deviation of the noise, on the [0, 1] scale.

        Returns:
            x̂, (H, W), float32, on the CPU, not clipped.

        Raises:
            ValueError: If the image is not such a tensor, or sigma is out of the weights' range.
        """
        return run_through(self.steps(noisy, sigma))

    def steps(
        self, noisy: Tensor, sigma: float, plan: Plan | None = None, *, shrink: int = 1
    ) -> Generator[float, None, Tensor]:
        """Denoise one image strip by strip, so that a caller can interleave several images, or stop.

        Args:
            noisy: As in `denoise`.
            sigma: As in `denoise`.
            plan: How to cut the image; from the memory budget unless told. The result does not depend on it.
            shrink: Without a plan, cut into strips that many times smaller, in as much less memory.

        Yields:
            After each part of a strip, a fraction of a second, the share done, rising to 1.

        Returns:
            As `denoise`.

        Raises:
            ValueError: As `denoise`, at once and not at the first strip.
        """
        if noisy.ndim != 2 or not noisy.numel() or noisy.dtype != torch.float32:
            raise ValueError(f"an image is a float32 tensor (H, W) with pixels, not {noisy.dtype} {tuple(noisy.shape)}")
        check_sigma(sigma * 255, self.sigma_range)
        return self._steps(noisy, sigma, plan, shrink)

    @torch.inference_mode()
    def _steps(self, noisy: Tensor, sigma: float, plan: Plan | None, shrink: int) -> Generator[float, None, Tensor]:
        height, width = noisy.shape
        images, top, left = reflect(noisy[None, None], self.config.smallest_side)
        full_height, full_width = images.shape[-2:]
        if plan is None:
            plan = self.plan(full_height, full_width, shrink)
        transfers = Transfers(images, self.device)
        stages = [
            NetworkStage(
                self.network,
                full_height,
                panel.stop - panel.start,
                Shape(panel.padding, plan.rows, plan.side, plan.batch, fused=self.unfused_reason is None),
            )
            for panel in plan.panels
        ]
        done, total = 0, sum(stage.pixels for stage in stages)
        for panel in plan.panels:
            stage, finished = stages.pop(0), 0  # what a finished stage still holds goes with it
            for start in range(0, full_height, plan.rows):
                rows = transfers.take(slice(start, start + plan.rows), slice(panel.start, panel.stop))
                groups = (rows, torch.full_like(rows, sigma)) if self.config.sigma_plane else (rows,)
                feed = stage.feed(groups, last=start + plan.rows >= full_height)
                try:
                    while True:
                        done += next(feed)
                        yield done / total
                except StopIteration as end:
                    (out,) = end.value
                transfers.give(out[:, :, :, panel.first - panel.start : panel.end - panel.start], finished, panel.first)
                finished += out.shape[2]
        denoised = transfers.finish()
        return denoised[0, 0, top : top + height, left : left + width]

    def plan(self, height: int, width: int, shrink: int = 1) -> Plan:
        """Return how an image of this size is cut; with `shrink`, into strips that many times smaller, in as much less memory."""
        cuda = self.device.type == "cuda"
        smallest = self.config.smallest_side
        return make_plan(
            self.config,
            max(height, smallest),
            max(width, smallest),
            self.memory_budget // shrink,
            strip_pixels=(CUDA_STRIP_PIXELS if cuda else STRIP_PIXELS) // shrink,
            batch=max(1, (CUDA_BATCH if cuda else BATCH) // shrink),
            fused=self.unfused_reason is None,
        )


def choose_device(device: str) -> tuple[torch.device, str | None]:
    """Return the device to use and, where "auto" had to take the CPU, why.

    Raises:
        ValueError: If the device is unknown or not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), None
        reason = "this build of torch has no CUDA support" if torch.version.cuda is None else "torch sees no CUDA device"
        return torch.device("cpu"), reason
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no device {device!r}: torch sees {torch.cuda.device_count()} CUDA devices")
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r} is neither a CPU nor a CUDA device")
    return chosen, None


def choose_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """Return what convolutions are computed in.

    Raises:
        ValueError: If the name is unknown.
    """
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype != "auto":
        if dtype not in names:
            raise ValueError(f"dtype must be auto, {', '.join(names)}, not {dtype!r}")
        return names[dtype]
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if machine.has_fast_bfloat16() else torch.float32


def default_budget(device: torch.device) -> int:
    """Return the bytes that denoising may hold: a quarter of what is free, within sensible bounds."""
    if device.type == "cuda":
        return min(4 << 30, torch.cuda.mem_get_info(device)[0] // 4)
    return max(256 << 20, min(1 << 30, machine.free_memory() // 4))
