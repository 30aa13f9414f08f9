"""The loaded models. This module runs on the compute thread; apart from it, only a few commands of the service import torch."""

import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Self

import numpy as np
import torch

from models.inference.denoiser import Denoiser
from models.inference.gray_and_color import GrayAndColor
from models.inference.photo import Photo
from models.inference.upscaler import Upscaler
from models.methods import Method, has_upscaler, load_method, load_upscaler, method_names
from models.neighbors.neighborhood import NeighborQuery
from models.steps import run_through
from service.engine import selftest
from service.engine.throughput import USUAL_SIDE
from service.errors import DeviceFault, DeviceOutOfMemory, NonFiniteResult, NotReady
from service.imaging.picture import Plane
from service.settings import DEFAULT_MODEL, MIB, UPSCALE_MODEL, Settings

_TIMED_FACTOR = 2


class Backend:
    """The loaded models, which compute strip by strip; their failures become errors of the service.

    Args:
        methods: The models, the default first.
        load_reference: Loads the default model in float32 on the CPU, for the self-test of weights without a stored result.
        on_device_error: Called with the kind of each failure: out_of_memory, fault or non_finite.
        upscaler: The model that enlarges pictures, if there is one.

    Attributes:
        models: Facts about each model by its name, the default first.
        torch_version: Version of PyTorch.
    """

    torch_version: str = torch.__version__

    def __init__(
        self,
        methods: Sequence[Method],
        load_reference: Callable[[], Method],
        on_device_error: Callable[[str], None] = lambda _: None,
        upscaler: Upscaler | None = None,
    ) -> None:
        self._methods = {method.info.name: method for method in methods}
        self._upscaler = upscaler
        self.models = {name: method.info for name, method in self._methods.items()}
        if upscaler:
            self.models[UPSCALE_MODEL] = upscaler.info
        self._load_reference = load_reference
        self._on_device_error = on_device_error
        self._golden: Plane | None = None

    @classmethod
    def load(cls, settings: Settings, on_device_error: Callable[[str], None]) -> Self:
        """Load all models as the settings say. Call this on the thread that will compute.

        Raises:
            NotReady: If a GPU is required and the default model does not use one.
            ValueError: If the weights cannot be loaded, or if the device or the dtype does not exist.
        """
        budget = None if settings.memory_budget_mib is None else settings.memory_budget_mib * MIB
        load = partial(load_method, device=settings.device, dtype=settings.dtype, memory_budget=budget)
        load_default = partial(load, DEFAULT_MODEL, weights=settings.weights)
        backend = cls(
            [load_default(), *(load(name) for name in method_names() if name != DEFAULT_MODEL)],
            lambda: load_default(device="cpu", dtype="float32"),
            on_device_error,
            load_upscaler(device=settings.device, dtype=settings.dtype, memory_budget=budget) if has_upscaler() else None,
        )
        default = backend.models[DEFAULT_MODEL]
        if settings.require_gpu and default.device == "cpu":
            raise NotReady(f"A GPU is required, but {default.fallback_reason or 'the settings ask for the CPU'}.")
        return backend

    def steps(
        self,
        noisy: Plane,
        sigma: float | Plane | None,
        model: str = DEFAULT_MODEL,
        query: NeighborQuery | None = None,
        factor: int = 1,
    ) -> Generator[float, None, Plane]:
        """Denoise a plane, or the channels of an RGB picture together; or enlarge it, estimate its noise, or find neighbors.

        If the device runs out of memory, start again with strips of half the size, once.

        Args:
            noisy: (H, W), or (3, H, W) for a model with a color network; [0, 1].
            sigma: Noise standard deviation on the [0, 1] scale, or a noise level map for a model that takes one; None estimates
                this map, if the model can.
            model: One of `models`.
            query: The pixel whose neighbors to find, if the model has such an N3 block; None to denoise.
            factor: The factor by which the model that enlarges pictures enlarges the plane.

        Yields:
            The fraction done after each strip; it falls when the computation starts again.

        Returns:
            The denoised image, of the same shape, not clipped; or the enlarged plane (factor * H, factor * W); or the noise level
            map (2, h, w); or the table of the neighbors, which `Neighborhood.parse` takes.

        Raises:
            DeviceOutOfMemory: If the device runs out of memory again, or if the model cannot use smaller strips.
            DeviceFault: If the device fails otherwise.
            NonFiniteResult: If the result contains NaN or infinity.
        """
        # The copy makes all strides positive, as torch needs them: NumPy may leave negative ones on a plane of one row or column.
        plane = torch.from_numpy(np.array(noisy, np.float32, order="C"))
        upscaler = self._upscaler if model == UPSCALE_MODEL else None
        can_shrink, shrink = (upscaler or self._methods[model]).can_shrink, 1
        while True:
            try:
                if upscaler:
                    assert isinstance(sigma, float)
                    steps = upscaler.steps(plane, sigma, factor, shrink=shrink)
                else:
                    steps = self._method_steps(self._methods[model], plane, sigma, query, shrink)
                denoised = yield from steps
                break
            except (MemoryError, RuntimeError) as error:
                self._recover(error, may_retry=can_shrink and shrink == 1)
                shrink = 2
        result: Plane = denoised.float().cpu().numpy()
        if not np.isfinite(result).all():
            self._on_device_error("non_finite")
            raise NonFiniteResult
        return result

    @staticmethod
    def _method_steps(
        method: Method, plane: torch.Tensor, sigma: float | Plane | None, query: NeighborQuery | None, shrink: int
    ) -> Generator[float, None, torch.Tensor]:
        if sigma is None:
            assert isinstance(method, Photo)  # the only one that estimates noise
            return method.estimate_steps(plane)
        level = sigma if isinstance(sigma, float | int) else torch.from_numpy(np.array(sigma, np.float32, order="C"))
        if query:
            assert isinstance(method, Denoiser | GrayAndColor | Photo)  # those with N3 blocks
            return method.neighbor_steps(plane, level, query)
        if isinstance(level, torch.Tensor):
            assert isinstance(method, Photo)  # the only one that is told maps
            return method.steps(plane, level, shrink=shrink)
        return method.steps(plane, level, shrink=shrink)

    def _recover(self, error: Exception, *, may_retry: bool) -> None:
        """Free memory for another attempt, or raise the error of the service that the failure stands for."""
        if not _out_of_memory(error):
            self._on_device_error("fault")
            raise DeviceFault("The compute device failed on this request.") from error
        self._on_device_error("out_of_memory")
        if not may_retry:
            raise DeviceOutOfMemory("The image does not fit into the device's free memory.", retry_after=10) from error
        error.__traceback__ = None  # its frames keep the strip's tensors alive
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def denoise(self, noisy: Plane, sigma: float) -> Plane:
        """Denoise a plane with the default model; see `steps`."""
        return run_through(self.steps(noisy, sigma))

    def check(self) -> None:
        """Run the self-test.

        The result for weights without a stored one is compared with that of a float32 run on the CPU, computed once.

        Raises:
            NotReady: If the result deviates.
            DeviceFault: If the device fails.
        """
        if self._golden is None:
            stored = selftest.stored_results().get(self.models[DEFAULT_MODEL].weights_sha256 or "")
            self._golden = selftest.decode(stored) if stored else self._reference()
        deviation = selftest.deviation(self.denoise, self._golden)
        if not deviation <= selftest.TOLERANCE:
            raise NotReady(f"The self-test deviates by {deviation:.2g}, but only {selftest.TOLERANCE} is allowed.")

    def _reference(self) -> Plane:
        noisy = torch.from_numpy(selftest.noisy_image())
        reference: Plane = self._load_reference().denoise(noisy, selftest.SIGMA).numpy()
        return reference

    def time_pass(self, model: str) -> tuple[int, float]:
        """Compute a plane of the usual size with a model; return (pixels, seconds). The first pass in a process is slow."""
        plane = np.full((USUAL_SIDE, USUAL_SIDE), 0.5, np.float32)
        began = time.monotonic()
        run_through(self.steps(plane, selftest.SIGMA, model, factor=_TIMED_FACTOR))
        return plane.size, time.monotonic() - began

    def memory(self) -> tuple[int, int]:
        """Return the GPU memory (allocated, reserved) in bytes; zeros on a CPU."""
        if self.models[DEFAULT_MODEL].device != "cuda":
            return 0, 0
        return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()


def _out_of_memory(error: Exception) -> bool:
    # The CPU allocator raises a bare RuntimeError, which only its text distinguishes.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
