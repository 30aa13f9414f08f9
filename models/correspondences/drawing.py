"""A picture of matches: two pictures side by side, with lines between them whose colors tell probabilities."""

import numpy as np
from numpy.typing import NDArray

WRONG, CORRECT = np.array((0.92, 0.36, 0.02)), np.array((0.20, 0.75, 1.0))
"""The colors of the probabilities 0 and 1, which color-blind people can tell apart too."""
MOST_LINES = 150
"""Number of matches that get a line. If there are more, a random choice of them does; more lines would cover each other."""
DOT = 1
"""Half the side of the square at each end of a match, in pixels."""


def draw_matches(
    first: NDArray[np.float32], second: NDArray[np.float32], matches: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Draw matches: a square for each point, and lines for some of the matches, the likely ones above the others.

    Args:
        first: (3, H, W), in [0, 1]. It is made gray and darker, so that the colors stand out.
        second: (3, H, W) of any size.
        matches: (x1, y1, x2, y2) in pixels, (N, 4).
        probabilities: (N,).

    Returns:
        (3, H, W), in [0, 1], with the height of the higher picture and the sum of the widths.
    """
    from skimage.draw import line_aa

    left = first.shape[2]
    canvas = np.ones((max(first.shape[1], second.shape[1]), left + second.shape[2], 3), np.float32)
    for picture, start in ((first, 0), (second, left)):
        canvas[: picture.shape[1], start : start + picture.shape[2]] = 0.6 * picture.mean(0)[..., None]
    ends = np.rint(matches + np.array((0, 0, left, 0))).astype(int)
    lined = set(np.random.default_rng(0).permutation(len(matches))[:MOST_LINES].tolist())
    for index in np.argsort(probabilities, kind="stable").tolist():
        color = WRONG + float(probabilities[index]) * (CORRECT - WRONG)
        x1, y1, x2, y2 = ends[index]
        if index in lined:
            rows, columns, coverage = line_aa(y1, x1, y2, x2)
            inside = (rows >= 0) & (rows < canvas.shape[0]) & (columns >= 0) & (columns < canvas.shape[1])
            rows, columns, alpha = rows[inside], columns[inside], coverage[inside, None]
            canvas[rows, columns] = (1 - alpha) * canvas[rows, columns] + alpha * color
        for x, y in ((x1, y1), (x2, y2)):
            canvas[max(0, y - DOT) : max(0, y + DOT + 1), max(0, x - DOT) : max(0, x + DOT + 1)] = color
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
