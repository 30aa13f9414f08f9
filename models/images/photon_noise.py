"""Photon noise, and the transform that makes it white.

A sensor counts photo-electrons, whose number follows a Poisson distribution, and reads them out with Gaussian noise. A sample z
whose mean is y is

    z = offset + gain·k + read_noise·n,    k ~ Poisson((y - offset) / gain),  n ~ Normal(0, 1),

so its variance is gain·(y - offset) + read_noise². The generalized Anscombe transform of z has noise of standard deviation close
to 1 wherever there are more than a few electrons. A denoiser for white noise then estimates its mean E[f(z) | y], which is not
f(y). The exact unbiased inverse maps that mean to y: M. Mäkitalo and A. Foi, Optimal inversion of the generalized Anscombe
transformation for Poisson-Gaussian noise, IEEE Transactions on Image Processing 22 (2013).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

_MOST_ELECTRONS = 100.0  # above, the error of Anscombe's asymptotic inverse is below a thousandth of an electron
_MEANS = 1001
_DEVIATIONS = np.linspace(-8, 8, 1601)  # of the read noise, in standard deviations


@dataclass(frozen=True, slots=True)
class PhotonNoise:
    """Poisson-Gaussian noise; all values are on the scale of the samples.

    Attributes:
        gain: Samples per photo-electron, > 0.
        read_noise: Standard deviation of the noise of a pixel without light, >= 0.
        offset: Mean of a pixel without light.
    """

    gain: float
    read_noise: float = 0.0
    offset: float = 0.0

    def of(self, factor: float) -> Self:
        """Return the noise of the samples times a factor."""
        return type(self)(self.gain * factor, self.read_noise * factor, self.offset * factor)

    def sigma(self, mean: Array) -> Array:
        """Return the standard deviation of samples, given their means; a mean below the offset counts as the offset."""
        return np.asarray(np.sqrt(self.gain * np.maximum(mean - self.offset, 0) + self.read_noise**2))

    def stabilize(self, samples: Array) -> NDArray[np.float64]:
        """Return the generalized Anscombe transform of samples, whose noise has a standard deviation close to 1."""
        electrons = (samples.astype(np.float64) - self.offset) / self.gain
        return 2 * np.sqrt(np.maximum(electrons + self._shift, 0))

    def restore(self, stabilized: Array) -> NDArray[np.float64]:
        """Return the means of the samples whose transforms have the given means: the exact unbiased inverse of `stabilize`.

        No result lies below the offset.
        """
        values = stabilized.astype(np.float64)
        electrons, expected = _table(self.read_noise / self.gain)
        asymptotic = np.square(values / 2) + 0.25 - self._shift  # Anscombe's inverse, without bias for many electrons
        found = np.where(values > expected[-1], asymptotic, np.interp(values, expected, electrons))
        return np.asarray(found * self.gain + self.offset)

    @property
    def _shift(self) -> float:
        return 3 / 8 + (self.read_noise / self.gain) ** 2


@lru_cache(maxsize=8)
def _table(read_noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean numbers of electrons, and the means of the transforms of such pixels.

    A mean is the sum over the Poisson distribution of the integral over the normal distribution.

    Args:
        read_noise: In electrons.
    """
    from scipy.stats import poisson  # slow to import

    electrons = np.square(np.linspace(0, _MOST_ELECTRONS**0.5, _MEANS))
    counts = np.arange(_MOST_ELECTRONS + 10 * _MOST_ELECTRONS**0.5)
    noise = PhotonNoise(1.0, read_noise)
    density = np.exp(-np.square(_DEVIATIONS) / 2)
    of_counts = noise.stabilize(np.add.outer(counts, read_noise * _DEVIATIONS)) @ (density / density.sum())
    return electrons, np.asarray(poisson.pmf(counts, electrons[:, None]) @ of_counts)
