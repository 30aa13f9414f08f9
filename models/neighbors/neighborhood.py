"""The neighbors of one pixel: the patches that an N3 block averages for the patch around it, and their weights.

Letters: k neighbors, n candidates of the query patch.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NeighborQuery:
    """A pixel whose neighbors are asked for.

    Attributes:
        x: Its column.
        y: Its row.
        block: Number of the N3 block, counted from 1.
    """

    x: int
    y: int
    block: int


@dataclass(frozen=True, slots=True)
class Neighborhood:
    """The candidates of the patch around a pixel, and how much each of the k neighbors is made of each of them.

    Positions are those of the top left corner of a patch, in pixels. A patch at the border may begin outside the image.

    Attributes:
        query: Column and row of the query patch, whose center is the nearest one to the pixel.
        temperature: The temperature of the query patch.
        candidates: Column and row of each candidate, (n, 2).
        weights: Weights of the candidates for each of the k neighbors, (k, n); each row sums to 1.
    """

    query: tuple[int, int]
    temperature: float
    candidates: NDArray[np.int64]
    weights: NDArray[np.float32]

    @classmethod
    def parse(cls, table: NDArray[np.float32]) -> Self:
        """Return the neighborhood that a table describes.

        Args:
            table: (3 + k, 1 + n). There is one column for each patch, the query patch first. The rows are the column and the row
                of the patch, the temperature of the query patch, and the weights for each of the k neighbors.
        """
        places = table[:2].T.astype(np.int64)
        return cls((int(places[0, 0]), int(places[0, 1])), float(table[2, 0]), places[1:], table[3:, 1:])
