"""The methods one can ask for by name: the network, its like without neighbors, and the classical method, with one interface."""

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from torch import Tensor

from models.inference.denoiser import Denoiser, DType
from models.model_info import ModelInfo
from models.neighbors.nlm import NonLocalMeans
from models.networks.n3net import N3NetConfig
from models.networks.n3unet import N3UNetConfig
from models.weights.files import weights_names

__all__ = ["METHODS", "NETWORKS", "Method", "ModelInfo", "load_method", "method_names"]

METHODS = ("n3net", "dncnn", "nlm")
NETWORKS: dict[str, N3NetConfig | N3UNetConfig] = {
    "n3net": N3NetConfig(),
    "n3unet": N3UNetConfig(),
    "dncnn": N3NetConfig(blocks=0, depth=17, features=48),
}
"""The networks that can be trained and their default geometry. DnCNN's is as deep as Zhang et al.'s (2017)."""


class Method(Protocol):
    """Turns a noisy image into a denoised one; images are (H, W) float32 in [0, 1], and sigma is on that scale too."""

    @property
    def info(self) -> ModelInfo:
        """Facts about the method and its device."""

    @property
    def can_shrink(self) -> bool:
        """Whether a larger `shrink` needs less memory."""

    def steps(self, noisy: Tensor, sigma: float, *, shrink: int = 1) -> Generator[float, None, Tensor]:
        """Denoise piece by piece: yield the fraction done after each piece, and return the image.

        With `shrink`, the pieces are that many times smaller.
        """

    def denoise(self, noisy: Tensor, sigma: float) -> Tensor:
        """Return the denoised image, on the CPU, not clipped."""


def method_names() -> list[str]:
    """Return the methods that can be loaded here, the default first: those whose weights are shipped, and those without."""
    shipped = {"nlm", *weights_names()}
    return [name for name in METHODS if name in shipped]


def load_method(
    name: str = "n3net",
    *,
    weights: str | Path = "default",
    device: str = "auto",
    dtype: DType = "auto",
    memory_budget: int | None = None,
) -> Method:
    """Load a method. Networks want to be loaded in the thread that is going to compute, see `Denoiser.load`.

    Args:
        name: One of `METHODS`: "n3net", "dncnn" (convolutions alone), "nlm" (non-local means).
        weights: For "n3net": a name or the path of a weights file. The others have no choice.
        device: For the networks; non-local means runs on the CPU.
        dtype: For the networks.
        memory_budget: For the networks, in bytes.

    Raises:
        ValueError: If there is no such method.
        WeightsError: If the weights cannot be loaded.
    """
    if name not in METHODS:
        raise ValueError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    if name == "nlm":
        return NonLocalMeans()
    return Denoiser.load(weights if name == "n3net" else name, device, dtype, memory_budget, name)
