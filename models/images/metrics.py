"""Image quality against a reference of the same size, in the [0, 1] range."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Image = Tensor | NDArray[np.floating]


def psnr(image: Image, reference: Image) -> float:
    """Return the peak signal-to-noise ratio in dB, 10 log10(1 / MSE), which is infinite for identical images.

    Args:
        image: (H, W) or several planes, (C, H, W), not clipped.
        reference: Of the same shape, in [0, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    _same_shape(image, reference)
    mse = (torch.as_tensor(image).double() - torch.as_tensor(reference).double()).square().mean().item()
    return -10 * math.log10(mse) if mse > 0 else math.inf


def ssim(image: Image, reference: Image) -> float:
    """Return the structural similarity of Wang et al. (2004), with a Gaussian window of standard deviation 1.5.

    Covariances are those of the population, as in the paper.

    Args:
        image: (H, W) with both sides at least 11, not clipped.
        reference: (H, W), in [0, 1].

    Raises:
        ValueError: If the shapes differ, or a side has fewer than 11 pixels.
    """
    from skimage.metrics import structural_similarity  # slow to import, and most callers need PSNR only

    _same_shape(image, reference)
    return float(
        structural_similarity(
            torch.as_tensor(image).double().numpy(),
            torch.as_tensor(reference).double().numpy(),
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
    )


def plain_values(figures: "DataclassInstance") -> dict[str, Any]:
    """Return the fields of some figures that are not None. What JSON cannot represent, such as an infinite PSNR, becomes None."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(figures).items()
        if value is not None
    }


def _same_shape(image: Image, reference: Image) -> None:
    if image.shape != reference.shape:
        raise ValueError(f"shapes differ: {tuple(image.shape)} and {tuple(reference.shape)}")
