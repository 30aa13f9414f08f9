"""How fast the device is, learned from the strips it does."""

_FORGET = 0.98  # a strip's weight after one more: the last fifty or so count


class Pace:
    """Pixels per second over the recent strips, weighted by their length."""

    def __init__(self) -> None:
        self._pixels = 0.0
        self._seconds = 0.0

    def note(self, pixels: float, seconds: float) -> None:
        """Learn from one strip."""
        self._pixels = self._pixels * _FORGET + pixels
        self._seconds = self._seconds * _FORGET + seconds

    @property
    def pixels_per_second(self) -> float | None:
        """None until a strip was seen."""
        return self._pixels / self._seconds if self._pixels and self._seconds else None

    def seconds(self, pixels: float) -> float:
        """Time that so many pixels take; 0 while nothing is known."""
        rate = self.pixels_per_second
        return pixels / rate if rate else 0.0
