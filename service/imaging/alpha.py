"""Pixels that alpha hides."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import distance_transform_edt

from service.imaging.picture import Picture


def without_hidden_colors(picture: Picture) -> Picture:
    """Give the pixels whose alpha is 0 the color of the nearest other pixel, so that no color that nobody sees has any effect."""
    if picture.alpha is None or not 0 < np.count_nonzero(picture.alpha) < picture.alpha.size:
        return picture
    rows, columns = distance_transform_edt(picture.alpha == 0, return_distances=False, return_indices=True)
    return replace(picture, planes=picture.planes[:, rows, columns])
