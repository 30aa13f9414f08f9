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
    total = np.zeros((), np.float32)
    for symmetry in SYMMETRIES:
        view = torch.from_numpy(np.ascontiguousarray(symmetry.apply(image.numpy())))
        total = total + symmetry.undo(restore(view).numpy())
    return torch.from_numpy(total / len(SYMMETRIES))
