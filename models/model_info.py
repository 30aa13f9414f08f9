"""Facts about a denoising method, as plain values."""

from dataclasses import dataclass
from typing import Self

ESTIMATE_SHARE = 0.1
"""Time of an estimate of the noise, as a share of that of a pass of the model for photographs."""


@dataclass(frozen=True)
class BlockFacts:
    """Facts about an N3 block of a network.

    Attributes:
        patch: Pixels along each side of its patches.
        side: Largest number of pixels along each side of the crop that determines the neighbors of a pixel.
        share: Work up to the comparison of patches in this block, as a share of the work of a whole pass.
    """

    patch: int
    side: int
    share: float


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a denoising method and the device that it runs on.

    Attributes:
        name: The name by which the API and the command line select the method.
        weights: Name of its weights; None for a method without weights.
        weights_sha256: SHA-256 of its weights; None for a method without weights.
        facts: How the weights were trained.
        sigma_range: Lowest and highest noise level that the method is made for, on the 0-255 scale.
        device: "cpu" or "cuda".
        device_name: Name of the device.
        dtype: Data type of the convolutions, such as "bfloat16".
        fallback_reason: Why "auto" chose the CPU; None if a GPU is used or the CPU was requested.
        smallest_side: Pixels along each side to which it extends smaller images before it computes.
        channels: 1 if it denoises one plane at a time, 3 if it denoises the channels of an RGB picture together.
        color: Facts about the network that denoises RGB pictures under the same name; None if there is none.
        blocks: Its N3 blocks, in the order in which an image passes through them.
    """

    name: str
    weights: str | None
    weights_sha256: str | None
    facts: dict[str, str]
    sigma_range: tuple[float, float]
    device: str
    device_name: str
    dtype: str
    fallback_reason: str | None
    smallest_side: int = 1
    channels: int = 1
    color: Self | None = None
    blocks: tuple[BlockFacts, ...] = ()

    def serving(self, *, rgb: bool) -> Self:
        """Return the facts about the network that denoises RGB pictures, or all others."""
        return self.color or self if rgb else self

    def network_pixels(self, height: int, width: int) -> int:
        """Return how many pixels one pass over an image of this size computes."""
        return max(height, self.smallest_side) * max(width, self.smallest_side)

    def estimate_pixels(self, height: int, width: int) -> int:
        """Return how many pixels of a pass take as long as estimating the noise of an image of this size."""
        return max(1, round(ESTIMATE_SHARE * self.network_pixels(height, width)))

    def neighbor_pixels(self, height: int, width: int, block: int) -> int:
        """Return how many pixels of a pass take as long as finding the neighbors of a pixel in the N3 block with a number."""
        facts = self.blocks[block - 1]
        pixels = self.network_pixels(min(height, facts.side), min(width, facts.side))
        return max(1, round(facts.share * pixels))
