"""How fast the device runs a model, measured on its recent strips."""

import math

USUAL_SIDE = 256
"""Side of the square plane on which a model is timed at start and again when its measured rate is in doubt."""
USUAL_PIXELS = USUAL_SIDE**2
_DECAY = 0.98  # factor on a strip's weight with each later strip, so that roughly the last fifty count
_RECENT = 1 / (1 - _DECAY)
_DOUBTFUL = 0.5


class Throughput:
    """The predicted time of a model: a rate for its pixels and a fixed time for each of its passes.

    The rate is that of the recent strips, each weighted by its duration. Only passes over planes of the usual size or more
    count. A pass over a smaller plane mostly takes a fixed time (calls of kernels and of Python), which says nothing about the
    rate: what it takes beyond its pixels at that rate is averaged as the fixed time of a pass. The average starts with a number
    of passes without a fixed time, so that a single slow one, as when the device hung, counts little.

    Args:
        assumed: The throughput of another model, whose rate is assumed before the first measurement.

    Attributes:
        best: The highest rate measured so far in pixels per second; None before the first measurement.
    """

    def __init__(self, assumed: "Throughput | None" = None) -> None:
        self.best: float | None = None
        self._assumed = assumed
        self._forget()

    def _forget(self) -> None:
        self._pixels = 0.0
        self._seconds = 0.0
        self._small_passes = _RECENT
        self._small_seconds = 0.0  # beyond those of the pixels

    def add(self, pixels: float, seconds: float, *, pass_pixels: float = math.inf) -> None:
        """Take the measurement of one strip into account.

        Args:
            pixels: Pixels of the strip.
            seconds: How long it took.
            pass_pixels: Pixels of the whole pass that the strip is part of.
        """
        if pass_pixels < USUAL_PIXELS:
            self._small_passes = self._small_passes * _DECAY + pixels / pass_pixels
            self._small_seconds = self._small_seconds * _DECAY + seconds - self.seconds_for(pixels)
            return
        self._pixels = self._pixels * _DECAY + pixels
        self._seconds = self._seconds * _DECAY + seconds
        # The parts of one pass differ in speed, so fewer pixels than those of a usual pass prove nothing.
        if self._seconds and self._pixels >= USUAL_PIXELS:
            self.best = max(self.best or 0.0, self._pixels / self._seconds)

    def start_again(self, pixels: float, seconds: float) -> None:
        """Forget all measurements but the best rate, and take that of one whole pass into account."""
        self._forget()
        self.add(pixels, seconds)

    @property
    def pixels_per_second(self) -> float | None:
        """The measured rate, or the assumed one before the first measurement; None if there is neither."""
        if self._pixels and self._seconds:
            return self._pixels / self._seconds
        return self._assumed.pixels_per_second if self._assumed else None

    @property
    def pass_seconds(self) -> float:
        """The fixed time of a pass; 0 before a small pass was measured."""
        return max(0.0, self._small_seconds / self._small_passes)

    @property
    def doubtful(self) -> bool:
        """Whether the rate is far below the best one, which is a reason to measure it again."""
        return (self.pixels_per_second or 0.0) < _DOUBTFUL * (self.best or 0.0)

    def seconds_for(self, pixels: float, passes: int = 0) -> float:
        """Return how long the given number of pixels and passes takes; 0 if no rate is known."""
        rate = self.pixels_per_second
        return pixels / rate + passes * self.pass_seconds if rate else 0.0

    def least_seconds_for(self, pixels: float) -> float:
        """Return how long the given number of pixels takes at the best rate so far; 0 before the first measurement."""
        return pixels / self.best if self.best else 0.0

    def cost(self, pixels: float, passes: int, of: "Throughput") -> float:
        """Return how many pixels of another model the device would compute in the time of one pixel of this model.

        Args:
            pixels: Pixels of all passes of a request.
            passes: Number of its passes, whose fixed times are spread over its pixels.
            of: The throughput of the other model.
        """
        own, other = self.pixels_per_second, of.pixels_per_second
        if not (pixels and own and other):
            return 1.0
        return other / own + passes * self.pass_seconds * other / pixels
