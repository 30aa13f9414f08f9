"""A picture of matches: two pictures side by side, and a line for each match whose color tells its probability."""

import numpy as np
from numpy.typing import NDArray

WRONG, CORRECT = np.array((0.92, 0.36, 0.02)), np.array((0.20, 0.75, 1.0))
"""The colors of the probabilities 0 and 1, which color-blind people can tell apart too."""
FAINTEST = 0.15
"""Opacity of a line of probability 0; that of probability 1 is opaque."""
DOT = 2
"""Half the side of the square at each end of a line, in pixels."""


def draw_matches(
    first: NDArray[np.float32], second: NDArray[np.float32], matches: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Draw matches, the likely ones above the others.

    Args:
        first: (3, H, W), in [0, 1]. It is made paler, so that lines stand out.
        second: (3, H, W) of any size.
        matches: (x1, y1, x2, y2) in pixels, (N, 4).
        probabilities: (N,).

    Returns:
        (3, H, W), in [0, 1], with the height of the higher picture and the sum of the widths.
    """
    from skimage.draw import line_aa

    widths, heights = [picture.shape[2] for picture in (first, second)], [picture.shape[1] for picture in (first, second)]
    canvas = np.ones((max(heights), sum(widths), 3), np.float32)
    for picture, left in ((first, 0), (second, widths[0])):
        gray = picture.mean(0, keepdims=True)
        pale = (0.6 * gray + 0.2).transpose(1, 2, 0)
        canvas[: picture.shape[1], left : left + picture.shape[2]] = pale
    ends = np.rint(matches + np.array((0, 0, widths[0], 0))).astype(int)
    for index in np.argsort(probabilities, kind="stable"):
        share = float(probabilities[index])
        color, opacity = (1 - share) * WRONG + share * CORRECT, FAINTEST + (1 - FAINTEST) * share
        x1, y1, x2, y2 = ends[index]
        rows, columns, coverage = line_aa(y1, x1, y2, x2)
        inside = (rows >= 0) & (rows < canvas.shape[0]) & (columns >= 0) & (columns < canvas.shape[1])
        rows, columns, alpha = rows[inside], columns[inside], opacity * coverage[inside, None]
        canvas[rows, columns] = (1 - alpha) * canvas[rows, columns] + alpha * color
        for x, y in ((x1, y1), (x2, y2)):
            square = canvas[max(0, y - DOT) : y + DOT + 1, max(0, x - DOT) : x + DOT + 1]
            square[:] = (1 - opacity) * square + opacity * color
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
