"""Which samples the network sees as black and as white.

The network has learned black as 0 and white as 1 and is wrong about values beyond them. A float picture that goes beyond, by more
than its noise explains, is mapped to [0, 1] and back; no value is clipped.
"""

from dataclasses import dataclass

import numpy as np

from service.imaging.picture import Planes

# A float file with samples outside this range is on a different scale altogether.
_NEAR = (-1.0, 2.0)
_TAIL, _TAIL_SIGMAS = 0.001, 3.09  # a thousandth of white noise lies more than 3.09 sigma below its mean
_TOLERANCE = 0.02
_NARROW = 0.1  # of the range; a picture that fills less of it loses 1 dB at sigma 25, and 6 dB if it fills a fiftieth


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The samples that the network sees as black (`low`) and white (`low + span`)."""

    low: float = 0.0
    span: float = 1.0

    @property
    def is_unit(self) -> bool:
        """Whether black is 0 and white is 1 already."""
        return self == ValueRange()

    def to_unit(self, planes: Planes) -> Planes:
        """Map planes so that this range becomes [0, 1]."""
        return planes if self.is_unit else ((planes.astype(np.float64) - self.low) / self.span).astype(np.float32)

    def from_unit(self, planes: Planes) -> Planes:
        """Undo `to_unit`."""
        return planes if self.is_unit else (planes.astype(np.float64) * self.span + self.low).astype(np.float32)


def whole_range(planes: Planes) -> ValueRange:
    """Return the range of all samples, with 0 and 1 included, if some lie far outside [0, 1]; otherwise [0, 1]."""
    low, high = float(planes.min()), float(planes.max())
    if _NEAR[0] <= low and high <= _NEAR[1]:
        return ValueRange()
    return ValueRange(min(low, 0.0), max(high, 1.0) - min(low, 0.0))


def is_set_by_outliers(value_range: ValueRange, planes: Planes) -> bool:
    """Tell whether a few samples set the range: nearly all others, and 0 and 1, lie within a small part of it around 0."""
    narrow = _NARROW * value_range.span
    return narrow > 1 and int(np.count_nonzero(np.abs(planes) > narrow)) < _TAIL * planes.size


def content_range(planes: Planes, sigma: float) -> ValueRange:
    """Estimate the range of the samples without their noise, with 0 and 1 included.

    A side that noise of this sigma explains stays at 0 or 1. Sigma is in the unit of the samples.
    """
    if planes.min() >= 0 and planes.max() <= 1:
        return ValueRange()
    low, high = (float(value) for value in np.quantile(planes, (_TAIL, 1 - _TAIL)))
    low = low + sigma if low < -_TAIL_SIGMAS * sigma - _TOLERANCE else 0.0
    high = high - sigma if high > 1 + _TAIL_SIGMAS * sigma + _TOLERANCE else 1.0
    return ValueRange(low, high - low)
