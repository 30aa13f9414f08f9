"""Which image gets the device next: the one that equal sharing would finish first."""

from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(eq=False, kw_only=True)
class Place:
    """One image in the queue.

    Attributes:
        pixels: All the work for the image, in network pixels of its model.
        deadline: When the caller stops waiting, on the monotonic clock.
        cost: Work per pixel. A pixel of the default model is one unit of work.
        left: Pixels not yet computed; kept by the queue.
        due: Virtual time at which equal sharing would finish the image; kept by the queue.
        runnable: Whether the image has a plane to compute; False until it is decoded.
        started: Whether its first strip is done, so that it occupies device memory; kept by the queue.
    """

    pixels: int
    deadline: float
    cost: float = 1.0
    left: float = 0.0
    due: float = 0.0
    runnable: bool = False
    started: bool = False


P = TypeVar("P", bound=Place)


class FairQueue(Generic[P]):
    """Fair queue over images, measured in work done; not thread-safe.

    A virtual clock runs as if the device served all images in the queue at once, with an equal share of the work for each.
    An image is due when this sharing would finish it, and the device always takes a strip of the image that is due first.
    So a small image overtakes a large one within a strip, no image ends later than under equal sharing (a large one cannot
    starve), and images end one after another instead of all late together (the fair sojourn protocol of Friedman and
    Henderson, 2003).

    Args:
        interleave: Maximum number of images that are started and not finished. A much smaller image may start nevertheless,
            because it needs little memory beside theirs.
    """

    def __init__(self, interleave: int) -> None:
        self.interleave = interleave
        self.places: list[P] = []  # ordered by due time
        self._sharing: list[P] = []  # the images that equal sharing would not have finished yet, in the same order
        self._clock = 0.0

    @property
    def pixels(self) -> float:
        """Pixels admitted and not yet computed."""
        return sum(place.left for place in self.places)

    @property
    def work(self) -> float:
        """Work admitted and not yet done."""
        return sum(place.left * place.cost for place in self.places)

    def add(self, place: P) -> None:
        """Add an image; its due time counts from now."""
        place.left, place.due = float(place.pixels), self._clock + place.pixels * place.cost
        for line in (self.places, self._sharing):
            line.append(place)
            line.sort(key=lambda each: each.due)

    def remove(self, place: P) -> None:
        """Remove an image, finished or not; do nothing if it was removed before."""
        if place in self.places:
            self.places.remove(place)
        # A finished image keeps its share of the virtual device until it is due; an abandoned one gives its share back.
        if place.left >= 1 and place in self._sharing:
            self._sharing.remove(place)
        if not self.places:
            self._sharing.clear()
            self._clock = 0.0

    def revise(self, place: P, pixels: int, cost: float) -> None:
        """Replace the work that is left for an image, because it has become known more exactly.

        Args:
            place: The image.
            pixels: Pixels that are left to compute.
            cost: Work per pixel.
        """
        place.due = max(self._clock, place.due + pixels * cost - place.left * place.cost)
        place.pixels, place.left, place.cost = pixels, float(pixels), cost
        if place not in self._sharing:
            self._sharing.append(place)
        for line in (self.places, self._sharing):
            line.sort(key=lambda each: each.due)

    def take(self) -> P | None:
        """Return the image whose strip comes next, or None if none is runnable."""
        started = [place for place in self.places if place.started]
        for place in self.places:
            if place.runnable and (place.started or self._may_start(place, started)):
                return place
        return None

    def _may_start(self, place: P, started: list[P]) -> bool:
        return len(started) < self.interleave or place.pixels * self.interleave <= min(p.pixels for p in started)

    def serve(self, place: P, pixels: float) -> None:
        """Record that the device computed a strip of an image, and advance the virtual clock."""
        place.started = True
        place.left = max(0.0, place.left - pixels)
        work = pixels * place.cost
        while work > 0 and self._sharing:
            first = self._sharing[0]
            advance = min(work / len(self._sharing), first.due - self._clock)
            work -= advance * len(self._sharing)
            self._clock += advance
            if self._clock >= first.due:
                self._sharing.pop(0)

    def finishes(self, work: float, deadline: float) -> list[tuple[float, float]]:
        """Predict what would happen if an image with the given work arrived now.

        Args:
            work: All the work for the new image.
            deadline: Deadline of the new image, on the monotonic clock.

        Returns:
            (work to do until it ends, deadline) for the new image, then for each image that would end after it.
        """
        due = self._clock + work
        ahead = work + sum(place.left * place.cost for place in self.places if place.due <= due)
        ends = [(ahead, deadline)]
        for place in self.places:
            if place.due > due:
                ahead += place.left * place.cost
                ends.append((ahead, place.deadline))
        return ends
