"""A heat map of the patches that an N3 block averages, drawn over the picture."""

import numpy as np

from models.neighbors.neighborhood import Neighborhood
from service.imaging.picture import Picture, Plane

_FAINT, _STRONG = np.array([[1.0, 0.85, 0.0], [0.9, 0.0, 0.0]], np.float32)  # yellow and red
_QUERY = np.array([0.0, 0.75, 1.0], np.float32)  # blue, so that it differs from the heat
_OPACITY = 0.85
_FRAME = 2  # pixels


def heat_map(picture: Picture, neighborhood: Neighborhood, patch: int) -> Picture:
    """Draw the weights over a gray picture.

    The heat of a pixel is the sum of the weights of all patches that contain it, averaged over the k neighbors. Pixels without
    heat keep their gray, weak heat is yellow, and the strongest is red. A blue frame surrounds the query patch.

    Args:
        picture: The picture, gray.
        neighborhood: The patches and their weights.
        patch: Pixels along each side of a patch.

    Returns:
        An RGB picture of the same size.
    """
    drawn = np.repeat(picture.planes.clip(0, 1), 3, axis=0)
    height, width = picture.height, picture.width
    (left, top), (right, bottom) = neighborhood.candidates.min(0), neighborhood.candidates.max(0) + patch
    window = drawn[:, _clipped(top, bottom, height), _clipped(left, right, width)]
    heat: Plane = np.zeros(window.shape[1:], np.float32)
    for (x, y), weight in zip(neighborhood.candidates - (max(left, 0), max(top, 0)), neighborhood.weights.mean(0), strict=True):
        heat[_clipped(y, y + patch, heat.shape[0]), _clipped(x, x + patch, heat.shape[1])] += weight
    heat /= heat.max(initial=np.finfo(np.float32).tiny)
    opacity = _OPACITY * np.sqrt(heat)  # the root makes small weights visible
    colors = _FAINT[:, None, None] * (1 - heat) + _STRONG[:, None, None] * heat
    window[:] = window * (1 - opacity) + colors * opacity
    frame = np.zeros((height, width), bool)
    x, y = neighborhood.query
    for margin in (_FRAME, 0):
        frame[_clipped(y - margin, y + patch + margin, height), _clipped(x - margin, x + patch + margin, width)] = margin > 0
    drawn[:, frame] = _QUERY[:, None]
    return Picture(drawn, rgb=True)


def _clipped(start: int, stop: int, length: int) -> slice:
    """Return the pixels from `start` to `stop` that lie within an axis."""
    return slice(*(min(max(int(pixel), 0), length) for pixel in (start, stop)))
