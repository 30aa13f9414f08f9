"""How fast the device computes, measured on its recent strips."""

_DECAY = 0.98  # factor on a strip's weight with each later strip, so that roughly the last fifty count


class Throughput:
    """Pixels per second over the recent strips, each weighted by its duration."""

    def __init__(self) -> None:
        self._pixels = 0.0
        self._seconds = 0.0

    def add(self, pixels: float, seconds: float) -> None:
        """Take the measurement of one strip into account."""
        self._pixels = self._pixels * _DECAY + pixels
        self._seconds = self._seconds * _DECAY + seconds

    @property
    def pixels_per_second(self) -> float | None:
        """The measured rate; None before the first measurement."""
        return self._pixels / self._seconds if self._pixels and self._seconds else None

    def seconds_for(self, pixels: float) -> float:
        """Return how long the given number of pixels takes; 0 before the first measurement."""
        rate = self.pixels_per_second
        return pixels / rate if rate else 0.0
