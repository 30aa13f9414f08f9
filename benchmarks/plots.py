"""Plots as SVG files that are the same, byte by byte, for the same data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure


@contextmanager
def svg_figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure, `width` x `height` inches, and save it as SVG when the block ends."""
    with mpl.rc_context({"svg.hashsalt": "n3denoise"}):
        figure = Figure((width, height), layout="constrained")
        yield figure
        figure.savefig(path, metadata={"Date": None})
