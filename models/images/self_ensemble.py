"""The mean over all flips and rotations of an image, known as geometric self-ensemble (Lim et al. 2017)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.images.symmetries import SYMMETRIES


def self_ensemble(restore: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Restore the eight flips and rotations of an image, undo the flips and rotations, and return the mean.

    Args:
        restore: Denoises or enlarges an image, (H, W), on the CPU.
        image: (H, W), on the CPU.

    Returns:
        The mean, of the size that `restore` gives the image.
    """
    views = ((symmetry, np.ascontiguousarray(symmetry.apply(image.numpy()))) for symmetry in SYMMETRIES)
    restored = [symmetry.undo(restore(torch.from_numpy(view)).numpy()) for symmetry, view in views]
    return torch.from_numpy(np.mean(restored, axis=0))
