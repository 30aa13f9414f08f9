"""The denoisers on their device: the service's only file that imports torch. Everything here runs on the compute thread."""

import platform
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch

from models.inference.cut_plan import Plan
from models.inference.denoiser import Denoiser
from models.methods import load_method, method_names
from models.neighbors.nlm import NonLocalMeans
from models.steps import run_through
from models.weights.files import Weights
from service.engine import selftest
from service.errors import DeviceFault, DeviceOutOfMemory, NonFiniteResult, NotReady
from service.imaging.picture import Plane
from service.settings import DEFAULT_MODEL, MIB, Settings


class Denoises(Protocol):
    """What the service needs of a denoiser; `models.inference.denoiser.Denoiser` has it."""

    weights: Weights
    device: torch.device
    dtype: torch.dtype
    fallback_reason: str | None

    def steps(self, noisy: torch.Tensor, sigma: float, plan: Plan | None = None) -> Generator[float, None, torch.Tensor]:
        """Denoise one image strip by strip."""

    def plan(self, height: int, width: int, shrink: int = 1) -> Plan:
        """Return how an image of this size is cut, into strips `shrink` times smaller than usual."""


@dataclass(frozen=True)
class ModelInfo:
    """What callers may know of a model and its device, as plain values; not every model has weights."""

    name: str
    weights: str | None
    weights_sha256: str | None
    facts: dict[str, str]
    sigma_range: tuple[float, float]
    device: str
    device_name: str
    dtype: str
    fallback_reason: str | None


class Backend:
    """Run the loaded models strip by strip and turn their failures into the service's errors.

    Args:
        methods: The models by name, the default first.
        load_reference: Loads the default model in float32 on the CPU, for the self-test of weights without a stored result.
        on_device_error: Called with the kind of each failure: out_of_memory, fault or non_finite.

    Attributes:
        models: Facts about each model, the default first.
        torch_version: Version of PyTorch.
    """

    def __init__(
        self,
        methods: Mapping[str, Denoises | NonLocalMeans],
        load_reference: Callable[[], Denoises],
        on_device_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.models = {name: _info(name, method) for name, method in methods.items()}
        self.torch_version: str = torch.__version__
        self._methods = methods
        self._load_reference = load_reference
        self._on_device_error = on_device_error
        self._golden: Plane | None = None

    @classmethod
    def load(cls, settings: Settings, on_device_error: Callable[[str], None]) -> Self:
        """Load all models onto the device that the settings name.

        Raises:
            NotReady: If a GPU is required and none is used.
            ValueError: If the weights, the device or the dtype do not exist.
        """
        budget = None if settings.memory_budget_mib is None else settings.memory_budget_mib * MIB
        backend = cls(
            {
                name: load_method(
                    name, weights=settings.weights, device=settings.device, dtype=settings.dtype, memory_budget=budget
                )
                for name in dict.fromkeys((DEFAULT_MODEL, *method_names()))
            },
            lambda: Denoiser.load(settings.weights, "cpu", "float32", budget),
            on_device_error,
        )
        default = backend.models[DEFAULT_MODEL]
        if settings.require_gpu and default.device == "cpu":
            raise NotReady(f"A GPU is required, but {default.fallback_reason or 'the settings ask for the CPU'}.")
        return backend

    def steps(self, noisy: Plane, sigma: float, model: str = DEFAULT_MODEL) -> Generator[float, None, Plane]:
        """Denoise a plane, yielding after each strip.

        Args:
            noisy: (H, W), [0, 1].
            sigma: On the [0, 1] scale.
            model: One of `models`.

        Yields:
            The share of the work that is done; it falls back when memory runs out and smaller strips are tried.

        Returns:
            (H, W), not clipped.

        Raises:
            DeviceOutOfMemory: If halving the strips did not help, or the method cannot.
            DeviceFault: If the device failed otherwise.
            NonFiniteResult: If the result holds NaN or infinity.
        """
        # A copy, for torch takes no negative strides, which NumPy leaves on a plane of one row or column.
        plane = torch.from_numpy(np.array(noisy, np.float32, order="C"))
        method = self._methods[model]
        (height, width), retried = noisy.shape, False
        while True:
            try:
                if isinstance(method, NonLocalMeans):
                    denoised = yield from method.steps(plane, sigma)
                else:
                    plan = method.plan(height, width, shrink=2) if retried else None
                    denoised = yield from method.steps(plane, sigma, plan)
                break
            except (MemoryError, RuntimeError) as error:
                # The strips of non-local means are small and have one size: the same again would run out of memory again.
                self._fail(error, last=retried or isinstance(method, NonLocalMeans))
                retried = True
        result: Plane = denoised.float().cpu().numpy()
        if not np.isfinite(result).all():
            self._on_device_error("non_finite")
            raise NonFiniteResult
        return result

    def _fail(self, error: Exception, *, last: bool) -> None:
        """Free memory after a first out-of-memory; give every other failure its name."""
        if not _out_of_memory(error):
            self._on_device_error("fault")
            raise DeviceFault("The compute device failed on this request.") from error
        self._on_device_error("out_of_memory")
        if last:
            raise DeviceOutOfMemory(
                "The image does not fit into the free memory of the compute device.", retry_after=10
            ) from error
        error.__traceback__ = None  # its frames hold the strip's tensors
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def check(self) -> None:
        """Run the golden self-test.

        Weights without a stored result are compared with a float32 run on the CPU, made at the first check.

        Raises:
            NotReady: If the result deviates.
            DeviceFault: If the device fails on it.
        """
        if self._golden is None:
            stored = selftest.stored_results().get(self.models[DEFAULT_MODEL].weights_sha256 or "")
            self._golden = selftest.decode(stored) if stored else self._reference()
        deviation = selftest.deviation(self.denoise, self._golden)
        if not deviation <= selftest.TOLERANCE:
            raise NotReady(f"The self-test deviates by {deviation:.2g}, but only {selftest.TOLERANCE} is allowed.")

    def warm_up(self) -> tuple[int, float]:
        """Run a plane of usual size twice, for the first run of a process is slow; (pixels, seconds) of the second."""
        plane = np.full((256, 256), 0.5, np.float32)
        self.denoise(plane, selftest.SIGMA)
        began = time.monotonic()
        self.denoise(plane, selftest.SIGMA)
        return plane.size, time.monotonic() - began

    def denoise(self, noisy: Plane, sigma: float) -> Plane:
        """As `steps`, run through."""
        return run_through(self.steps(noisy, sigma))

    def _reference(self) -> Plane:
        reference = Backend({DEFAULT_MODEL: self._load_reference()}, self._load_reference)
        return reference.denoise(selftest.noisy_image(), selftest.SIGMA)

    def memory(self) -> tuple[int, int]:
        """Bytes (allocated, reserved) on the GPU; zeros on a CPU."""
        if self.models[DEFAULT_MODEL].device != "cuda":
            return 0, 0
        return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()


def _info(name: str, method: Denoises | NonLocalMeans) -> ModelInfo:
    if isinstance(method, NonLocalMeans):
        return ModelInfo(name, None, None, {}, method.sigma_range, "cpu", platform.processor() or "CPU", "float32", None)
    cuda = method.device.type == "cuda"
    return ModelInfo(
        name=name,
        weights=method.weights.name,
        weights_sha256=method.weights.sha256,
        facts=dict(method.weights.facts),
        sigma_range=method.weights.sigma_range,
        device=method.device.type,
        device_name=torch.cuda.get_device_name(method.device) if cuda else platform.processor() or "CPU",
        dtype=str(method.dtype).removeprefix("torch."),
        fallback_reason=method.fallback_reason,
    )


def _out_of_memory(error: Exception) -> bool:
    # The CPU allocator raises a bare RuntimeError, so its text is all there is to go by.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
