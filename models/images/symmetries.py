"""The eight symmetries of the square: the flips and rotations that map the pixel grid onto itself."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Symmetry:
    """One of the eight symmetries.

    Attributes:
        quarter_turns: How often to rotate the image by 90 degrees counterclockwise.
        flipped: Whether to flip the rotated image upside down.
    """

    quarter_turns: int
    flipped: bool

    def apply(self, image: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return a view of an image, (H, W) or (C, H, W), rotated, then flipped. Odd quarter turns swap H and W."""
        turned = np.rot90(image, self.quarter_turns, (-2, -1))
        return turned[..., ::-1, :] if self.flipped else turned

    def undo(self, image: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return a view of an image with the effect of `apply` reversed."""
        return np.rot90(image[..., ::-1, :] if self.flipped else image, -self.quarter_turns, (-2, -1))


SYMMETRIES = tuple(Symmetry(quarter_turns, flipped) for quarter_turns in range(4) for flipped in (False, True))
IDENTITY = SYMMETRIES[0]


def views(ensemble: bool) -> tuple[Symmetry, ...]:
    """Return all eight symmetries for an ensemble, and the identity alone otherwise."""
    return SYMMETRIES if ensemble else (IDENTITY,)
