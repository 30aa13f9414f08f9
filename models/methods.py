"""The denoising methods that callers select by name, which have the same interface, and the network that enlarges images."""

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from torch import Tensor

from models.inference.denoiser import Denoiser
from models.inference.device import DType
from models.inference.gray_and_color import GrayAndColor
from models.inference.noise_estimator import NoiseEstimator
from models.inference.photo import Photo
from models.inference.upscaler import Upscaler
from models.model_info import ModelInfo
from models.neighbors.nlm import NonLocalMeans
from models.weights.files import DEFAULT_NAME, WeightsError, load_weights, weights_names

METHODS = (DEFAULT_NAME, "n3net", "photo", "dncnn", "nlm")
"""The names of all methods: N3UNet, N3Net as published, N3UNet for photographs, the convolution-only DnCNN, and classical
non-local means."""
NOISE_WEIGHTS = "noise-level"
"""The name of the weights that estimate noise level maps."""


class Method(Protocol):
    """A denoising method. Images are (H, W) float32 with the clean image in [0, 1]; sigma is on the same scale.

    If `info.color` is not None, it also takes RGB images (3, H, W).
    """

    @property
    def info(self) -> ModelInfo:
        """Facts about the method and its device."""

    @property
    def can_shrink(self) -> bool:
        """Whether `steps` with `shrink` 2 needs less memory and is not many times slower."""

    def steps(self, noisy: Tensor, sigma: float, *, shrink: int = 1) -> Generator[float, None, Tensor]:
        """Denoise an image piece by piece.

        Args:
            noisy: y, (H, W) or (3, H, W).
            sigma: Noise standard deviation.
            shrink: Factor by which to make the pieces smaller, if `can_shrink`.

        Returns:
            A generator that yields the fraction done after each piece. Its return value is the denoised image, as in `denoise`.
        """

    def denoise(self, noisy: Tensor, sigma: float) -> Tensor:
        """Return the denoised image, of the same shape, float32 on the CPU, not clipped."""


def method_names() -> list[str]:
    """Return the names of the methods that can be loaded, the default first. A network needs shipped weights of its name."""
    shipped = {"nlm", *weights_names()} - ({"photo"} if NOISE_WEIGHTS not in weights_names() else set())
    return [name for name in METHODS if name in shipped]


def load_method(
    name: str = DEFAULT_NAME,
    *,
    weights: str | Path = "default",
    device: str = "auto",
    dtype: DType = "auto",
    memory_budget: int | None = None,
) -> Method:
    """Load a method. Load networks in the thread that is going to compute, see `StreamedModel.load`.

    Args:
        name: One of `METHODS`.
        weights: Weights that replace those of the default method: the name of shipped weights or the path of a weights file. Its
            network for RGB images belongs to the shipped weights only. The other methods take no weights but their own.
        device: For networks only; non-local means always uses the CPU.
        dtype: For networks only.
        memory_budget: For networks only, in bytes.

    Raises:
        ValueError: If there is no such method, or if it does not take the weights.
        WeightsError: If the weights cannot be loaded.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known methods: {', '.join(METHODS)}")
    own_weights = str(weights or "default") in ("default", name)
    if not own_weights and name != DEFAULT_NAME:
        raise ValueError(f"the weights {weights} cannot replace those of {name}, only those of the default model, {DEFAULT_NAME}")
    if name == "nlm":
        return NonLocalMeans()
    if name == "photo":
        color = Denoiser.load(name, device, dtype, memory_budget, name)
        return Photo(color, NoiseEstimator(load_weights(NOISE_WEIGHTS), color.device, color.dtype))
    gray = Denoiser.load(name if own_weights else weights, device, dtype, memory_budget, name)
    if gray.channels != 1:
        raise WeightsError(f"the weights {gray.weights.name} are for RGB pictures; {name} needs weights for gray pictures")
    if not own_weights or f"{name}-color" not in weights_names():
        return gray
    return GrayAndColor(gray, Denoiser.load(f"{name}-color", device, dtype, memory_budget, name))


def has_upscaler() -> bool:
    """Tell whether the weights of the network that enlarges images are shipped."""
    return Upscaler.WEIGHTS in weights_names()


def load_upscaler(
    *, weights: str | Path | None = None, device: str = "auto", dtype: DType = "auto", memory_budget: int | None = None
) -> Upscaler:
    """Load the network that enlarges images, in the thread that is going to compute; see `StreamedModel.load`.

    Raises:
        WeightsError: If the weights cannot be loaded, or are not those of a network that enlarges images.
        ValueError: See `StreamedModel.load`.
    """
    return Upscaler.load(weights, device, dtype, memory_budget)
