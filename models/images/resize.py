"""Bicubic resizing (Keys 1981, a = -0.5), which smooths before it makes an image smaller.

Super-resolution undoes this degradation. Pillow computes the same, and MATLAB's imresize does except at the borders of the image.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

REACH = 2
"""Pixels on either side of a pixel of the small image that the pixels of the enlarged image inside it depend on."""


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Return images (B, C, H, W) enlarged to (B, C, factor * H, factor * W); values can leave the range of the input."""
    return resize(images, images.shape[-2] * factor, images.shape[-1] * factor)


def enlarge_planes(planes: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return planes (C, H, W) enlarged to (C, factor * H, factor * W), as `enlarge` does."""
    enlarged: NDArray[np.float32] = enlarge(torch.from_numpy(np.array(planes, np.float32, order="C"))[None], factor)[0].numpy()
    return enlarged


def enlarge_rows(images: Tensor, factor: int, start: int, stop: int) -> Tensor:
    """Return the rows of `enlarge(images, factor)` that cover rows `start` to `stop` of images (B, C, H, W).

    It reads only the rows that it needs, and returns (B, C, factor * (stop - start), factor * W).
    """
    first, end = max(0, start - REACH), min(images.shape[-2], stop + REACH)
    return enlarge(images[..., first:end, :], factor)[..., factor * (start - first) : factor * (stop - first), :]


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
