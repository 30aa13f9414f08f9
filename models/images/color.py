"""Color with a gray network: RGB as one plane of luma and two of color differences, each with noise of known strength.

A gray network has learned what gray photographs look like, and luma is one, with less noise than any channel: the mean of three
independent channels has a third of their noise variance. What the differences hold is faint, so that the network, told their
noise, smooths them well. `docs/decisions/0006-color.md` compares this with denoising each channel.
"""

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]

# Rows: the mean; red against blue; green against both. Luma keeps the range [0, 1] of a photograph; the differences have rows
# of length one, so that white noise keeps its strength in them and is independent between all three.
MATRIX = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5**0.5, 0, -(0.5**0.5)], [1 / 6**0.5, -2 / 6**0.5, 1 / 6**0.5]])
NOISE = np.sqrt(np.square(MATRIX).sum(1))  # what each row makes of noise of strength 1
OFFSET = np.array([0.0, 0.5, 0.5])  # differences lie about 0, photographs about the middle of [0, 1]
_INVERSE = np.linalg.inv(MATRIX)


def separate(rgb: Planes) -> Planes:
    """Return the luma and the two difference planes of a picture.

    Args:
        rgb: (3, H, W), 1.0 = white.

    Returns:
        (3, H, W); plane i has `NOISE[i]` times the noise of a channel.
    """
    mixed = np.tensordot(MATRIX.astype(np.float32), rgb, axes=1)
    return np.asarray(mixed + OFFSET.astype(np.float32)[:, None, None])


def merge(planes: Planes) -> Planes:
    """Return the RGB picture of its luma and difference planes: the inverse of `separate`."""
    return np.asarray(np.tensordot(_INVERSE.astype(np.float32), planes - OFFSET.astype(np.float32)[:, None, None], axes=1))
