"""Putative matches of two pictures: points that look alike, found by scikit-image. Many of them are wrong."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Detector = Literal["sift", "orb"]
LONGEST_SIDE = 1024
"""Pictures with a longer side are reduced to it in which points are found. The positions are those in the picture itself."""
MOST_POINTS = 3000
"""Number of points of a picture that are matched: of SIFT's those of the largest structures, of ORB's the strongest corners."""


def putative_matches(
    first: NDArray[np.float32], second: NDArray[np.float32], detector: Detector = "sift", ratio: float = 0.9
) -> NDArray[np.float32]:
    """Match points of two pictures by what surrounds them.

    A match is kept if each of its points is the most similar one to the other, and clearly more similar than the second best.

    Args:
        first: Gray picture, (H, W), in [0, 1].
        second: Gray picture of any size.
        detector: "sift" for SIFT (Lowe 2004), "orb" for ORB (Rublee et al. 2011), which is faster and finds less.
        ratio: Largest distance of the descriptors, as a share of that of the second best candidate; 1 keeps every match.

    Returns:
        (x1, y1, x2, y2) of each match in pixels, (N, 4). (0, 0) is the center of the top left pixel.
    """
    from skimage.feature import match_descriptors

    places, descriptors = zip(*(_points(picture, detector) for picture in (first, second)), strict=True)
    if min(map(len, places)) < 2:
        return np.empty((0, 4), np.float32)
    pairs = match_descriptors(*descriptors, cross_check=True, max_ratio=ratio)
    return np.concatenate([place[index] for place, index in zip(places, pairs.T, strict=True)], 1).astype(np.float32)


def _points(picture: NDArray[np.float32], detector: Detector) -> tuple[NDArray[np.float64], NDArray[np.generic]]:
    """Return the positions (x, y) of points, (N, 2), and their descriptors, (N, D)."""
    from skimage.feature import ORB, SIFT
    from skimage.transform import resize

    shape = np.array(picture.shape)
    reduced = np.maximum(1, np.round(shape * min(1.0, LONGEST_SIDE / shape.max()))).astype(int)
    small = resize(picture, reduced, anti_aliasing=True) if (reduced < shape).any() else picture
    found = SIFT() if detector == "sift" else ORB(n_keypoints=MOST_POINTS)
    try:
        found.detect_and_extract(small.astype(np.float64))
    except (RuntimeError, ValueError, IndexError):  # depending on the version and the size, for a picture without points
        return np.empty((0, 2)), np.empty((0, 1))
    rows_and_columns = found.positions if detector == "sift" else found.keypoints
    chosen = np.argsort(-found.sigmas, kind="stable")[:MOST_POINTS] if detector == "sift" else slice(None)
    # A pixel of the reduced picture covers several pixels, and its center is the center of these.
    places = (rows_and_columns[chosen] + 0.5) * (shape / reduced) - 0.5
    return places[:, ::-1], found.descriptors[chosen]
