"""Bicubic resizing (Keys 1981, a = -0.5), which smooths before it makes an image smaller.

Super-resolution undoes this degradation. Pillow computes the same, and MATLAB's imresize does except at the borders of the image.
"""

from torch import Tensor
from torch.nn import functional


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Return images (B, C, H, W) enlarged to (B, C, factor * H, factor * W); values can leave the range of the input."""
    return resize(images, images.shape[-2] * factor, images.shape[-1] * factor)


def shrink(images: Tensor, factor: int) -> Tensor:
    """Return images (B, C, factor * H, factor * W) reduced to (B, C, H, W); values can leave the range of the input.

    Raises:
        ValueError: If a side is not a multiple of the factor.
    """
    height, width = images.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(f"the sides {height} x {width} are not multiples of {factor}")
    return resize(images, height // factor, width // factor)


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Return images (B, C, H, W) resized to (B, C, height, width)."""
    return functional.interpolate(images, (height, width), mode="bicubic", antialias=True)
