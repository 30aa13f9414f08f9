"""What a trained network makes of putative matches: their probabilities, and the matrix and the pose that they stand for.

Letters: N matches of a pair of pictures.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.correspondences.geometry import (
    eight_point,
    epipolar_distances,
    recover_pose,
    unit,
    with_essential_form,
)
from models.correspondences.objective import match_weights
from models.networks.correspondence_net import CorrespondenceNet
from models.weights.files import Weights, WeightsError, load_weights

WEIGHTS = "correspondences"
"""The name of the shipped weights."""
GUESSED_FOCAL_LENGTH = 1.2
"""Focal length in units of the longer side of a picture if it is not known: that of a horizontal field of view of 45 degrees."""
SAMPLES = 500
"""Number of samples of eight matches whose estimates are compared."""
BEST = 20
"""Number of these estimates that are refined."""
ROUNDS = 5
"""Number of times that the matches are weighted anew by their distances from the epipolar lines."""
NOISE_PIXELS = 1.5
"""Distance from the epipolar line at which a match loses half of its weight."""


class TooFewMatchesError(ValueError):
    """There are not enough matches for the network, or it takes fewer than eight of them to be correct."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A camera without lens distortion.

    Attributes:
        focal: Focal length in pixels.
        x: Column of the principal point.
        y: Its row.
    """

    focal: float
    x: float
    y: float

    @classmethod
    def guess(cls, width: int, height: int) -> Self:
        """Return intrinsics with the principal point in the middle, and a focal length that many cameras have."""
        return cls(GUESSED_FOCAL_LENGTH * max(width, height), (width - 1) / 2, (height - 1) / 2)

    @property
    def matrix(self) -> Tensor:
        """K, (3, 3), float64."""
        return torch.tensor(((self.focal, 0, self.x), (0, self.focal, self.y), (0, 0, 1)), dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class TwoViews:
    """The geometry of two views.

    Attributes:
        probabilities: The probability that a match is correct, (N,), as the network sees it.
        inliers: Whether a match is near its epipolar lines, (N,): within twice `NOISE_PIXELS`.
        essential: E, (3, 3), for calibrated coordinates, with norm 1.
        fundamental: F, (3, 3), for pixels, with norm 1.
        rotation: R, (3, 3): a point X in the frame of the first camera is R X + t in that of the second.
        translation: t, (3,), of length 1.
    """

    probabilities: Tensor
    inliers: Tensor
    essential: Tensor
    fundamental: Tensor
    rotation: Tensor
    translation: Tensor


class MatchClassifier:
    """A network that classifies matches, ready to use on the CPU.

    Attributes:
        weights: The weights that it was loaded from.
        network: The network.
    """

    def __init__(self, weights: Weights) -> None:
        """Prepare the network.

        Raises:
            WeightsError: If the weights are those of another network.
        """
        network = weights.network()
        if not isinstance(network, CorrespondenceNet):
            raise WeightsError(f"the weights {weights.name} are not those of a network that classifies matches")
        self.weights, self.network = weights, network

    @classmethod
    def load(cls, name_or_path: str = WEIGHTS) -> Self:
        """Load weights, see `models.weights.files.load_weights`.

        Raises:
            WeightsError: If they cannot be loaded, or are those of another network.
        """
        return cls(load_weights(name_or_path))

    @torch.inference_mode()
    def two_views(self, matches: Tensor, first: Intrinsics, second: Intrinsics) -> TwoViews:
        """Classify matches, and estimate the geometry of the two views from those that are likely to be correct.

        Args:
            matches: (x1, y1, x2, y2) in pixels, (N, 4).
            first: The camera of the first picture.
            second: The camera of the second picture.

        Raises:
            TooFewMatchesError: If there are too few matches, or too few of them seem to be correct.
        """
        if len(matches) < self.network.smallest_set:
            raise TooFewMatchesError(
                f"there are {len(matches)} putative matches, but at least {self.network.smallest_set} are needed"
            )
        centers = torch.tensor((first.x, first.y, second.x, second.y))
        focals = torch.tensor((first.focal, first.focal, second.focal, second.focal))
        calibrated = ((matches - centers) / focals)[None].float()
        logits = self.network(calibrated)
        weights = match_weights(logits)
        if (count := int((weights > 0).sum())) < 8:
            raise TooFewMatchesError(f"only {count} of {len(matches)} putative matches seem to be correct; at least 8 are needed")
        noise = NOISE_PIXELS / ((first.focal + second.focal) / 2)
        essential, weights = estimate_essential(calibrated[0].double(), weights[0].double(), noise)
        rotation, translation = recover_pose(essential[None], calibrated.double(), weights[None])
        inverses = [torch.linalg.inv(camera.matrix) for camera in (first, second)]
        fundamental = unit(inverses[1].T @ essential @ inverses[0])
        inliers = epipolar_distances(matches[None].double(), fundamental[None])[0] < 2 * NOISE_PIXELS
        return TwoViews(logits[0].sigmoid(), inliers, essential, fundamental, rotation[0], translation[0])


def estimate_essential(matches: Tensor, weights: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Estimate an essential matrix from matches of which the weights are not quite right.

    The candidates are the weighted eight-point estimate, and the estimates from `SAMPLES` random samples of eight matches, drawn
    by their weights. A match agrees with a candidate to the degree of its weight times 1 / (1 + (d / noise)^2) for a distance d
    from the epipolar lines. The `BEST` candidates are refined: `ROUNDS` times, they are estimated anew from all matches, weighted
    by how much they agree. The result is the one with the most agreement.

    Args:
        matches: Calibrated, (N, 4).
        weights: Those of the network, (N,); at least eight are positive.
        noise: The distance at which a match counts half, in calibrated coordinates.

    Returns:
        The essential matrix, (3, 3), and the last weights, (N,).
    """
    generator = torch.Generator().manual_seed(0)  # the same matches give the same result
    samples = matches[weights.expand(SAMPLES, -1).multinomial(8, generator=generator)]  # (SAMPLES, 8, 4)
    candidates = torch.cat((eight_point(matches[None], weights[None]), eight_point(samples, torch.ones_like(samples[..., 0]))))
    candidates = with_essential_form(candidates)
    current = weights * closeness(matches, candidates, noise)
    for _ in range(ROUNDS):
        current = current[current.sum(1).topk(min(BEST, len(current))).indices]
        candidates = with_essential_form(eight_point(matches.expand(len(current), -1, -1), current))
        current = weights * closeness(matches, candidates, noise)
    best = current.sum(1).argmax()
    return candidates[best], current[best]


def closeness(matches: Tensor, matrices: Tensor, noise: float) -> Tensor:
    """Return 1 / (1 + (d / noise)^2), (B, N), for the distances d of matches, (N, 4), from their lines by matrices, (B, 3, 3)."""
    return 1 / (1 + (epipolar_distances(matches[None], matrices) / noise).square())
