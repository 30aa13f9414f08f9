"""Which image gets the device next: the one that equal sharing would finish first."""

from dataclasses import dataclass


@dataclass(eq=False)
class Place:
    """One image in the queue.

    Attributes:
        pixels: All the work of the image, in network pixels.
        deadline: When the caller stops waiting, on the monotonic clock.
        left: Pixels not yet computed.
        due: Virtual time at which equal sharing would finish the image.
        runnable: False until the image is decoded.
        started: True once its first strip is done, so that it holds memory on the device.
    """

    pixels: int
    deadline: float
    left: float = 0.0
    due: float = 0.0
    runnable: bool = False
    started: bool = False


class FairQueue:
    """Fair queue over images, counted in pixels served; not thread-safe.

    A virtual clock runs as if the device served every image in the queue at once, each its equal share of the pixels.
    An image is due when that sharing would finish it, and the device always takes the strip of the image due first. So
    a small image overtakes a large one within a strip, no image ends later than under equal sharing (a large one cannot
    starve), and not everything ends late together (fair sojourn protocol, Friedman and Henderson 2003).

    Args:
        interleave: Most images begun and not ended; a much smaller one may still go ahead of them, as its memory does
            not count beside theirs.
    """

    def __init__(self, interleave: int) -> None:
        self.interleave = interleave
        self.places: list[Place] = []  # in order of their due times
        self._sharing: list[Place] = []  # images that equal sharing would not have ended yet, in the same order
        self._clock = 0.0

    @property
    def pixels(self) -> float:
        """Pixels admitted and not yet computed."""
        return sum(place.left for place in self.places)

    def add(self, place: Place) -> None:
        """Let an image in; its due time counts from now."""
        place.left, place.due = float(place.pixels), self._clock + place.pixels
        for line in (self.places, self._sharing):
            line.append(place)
            line.sort(key=lambda each: each.due)

    def remove(self, place: Place) -> None:
        """Take an image out, done or not; no effect when it is out already."""
        if place in self.places:
            self.places.remove(place)
        # One that is done goes on taking its share of the virtual device; one given up gives its share back.
        if place.left >= 1 and place in self._sharing:
            self._sharing.remove(place)
        if not self.places:
            self._sharing.clear()
            self._clock = 0.0

    def take(self) -> Place | None:
        """The image whose strip comes next, or None when none is runnable."""
        started = [place for place in self.places if place.started]
        for place in self.places:
            if place.runnable and (place.started or self._may_start(place, started)):
                return place
        return None

    def _may_start(self, place: Place, started: list[Place]) -> bool:
        return len(started) < self.interleave or place.pixels * self.interleave <= min(p.pixels for p in started)

    def serve(self, place: Place, pixels: float) -> None:
        """Note that a strip of an image was computed, which moves the virtual clock."""
        place.started = True
        place.left = max(0.0, place.left - pixels)
        while pixels > 0 and self._sharing:
            first = self._sharing[0]
            advance = min(pixels / len(self._sharing), first.due - self._clock)
            pixels -= advance * len(self._sharing)
            self._clock += advance
            if self._clock >= first.due:
                self._sharing.pop(0)

    def finishes(self, pixels: int, deadline: float) -> list[tuple[float, float]]:
        """What would follow if an image of so many pixels came in now.

        Returns:
            (pixels until the end, deadline) of each image that would end no earlier than the new one, itself first.
        """
        due = self._clock + pixels
        ahead = pixels + sum(place.left for place in self.places if place.due <= due)
        ends = [(ahead, deadline)]
        for place in self.places:
            if place.due > due:
                ahead += place.left
                ends.append((ahead, place.deadline))
        return ends
