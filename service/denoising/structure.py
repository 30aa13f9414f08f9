"""The structure in what was removed: texture and edges that went away with the noise.

The mean of 3 x 3 pixels weakens noise and keeps structure. White noise keeps a ninth of its energy in these means; noise that was
smoothed, demosaicked or compressed keeps more, and how much is measured on the picture itself. Where the means have more energy
than that, the surplus is structure, and a Wiener filter passes it. Only ratios of energies count, so the level of the noise may
be unknown and may vary over the picture.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

Floats = NDArray[np.float64]

_MEAN, _WINDOW = 3, 11  # sides in pixels of the means, and of the windows in which energies are measured
REACH = _MEAN // 2 + _WINDOW // 2
"""How far the surroundings of a pixel reach on which its structure depends, in pixels."""
# The windows with the smallest shares hold noise alone. These shares are small by chance too, hence the factor.
_QUANTILE, _FACTOR = 0.1, 1.3


def shares(removed: Floats, area: tuple[slice, slice]) -> Floats:
    """Return which share of its energy a removed plane has in the means, in one window after another of an area."""
    _, in_means, in_all = (each[area][::_WINDOW, ::_WINDOW] for each in _energies(removed))
    return in_means[in_all > 0] / in_all[in_all > 0]


def noise_share(found: Sequence[Floats]) -> float:
    """Return the share that noise has, given the `shares` in all areas of a picture."""
    quantile = float(np.quantile(np.concatenate([*found, [0.0]]), _QUANTILE))
    return max(1 / _MEAN**2, _FACTOR * quantile)


def structure(removed: Floats, share: float) -> Floats:
    """Return the part of a removed plane (H, W) that is structure, where noise has this share of its energy in the means."""
    means, in_means, in_all = _energies(removed)
    surplus = np.maximum(in_means - share * in_all, 0)
    return np.asarray(means * np.divide(surplus, in_means, out=np.zeros_like(surplus), where=surplus > 0))


def _energies(removed: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the means, their energy around each pixel, and that of the plane itself."""
    means = uniform_filter(removed, _MEAN)
    return means, uniform_filter(means**2, _WINDOW), uniform_filter(removed**2, _WINDOW)
