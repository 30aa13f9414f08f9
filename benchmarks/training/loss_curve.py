"""The loss over the crops that a network has seen, from the figures that training runs write.

`python -m benchmarks.training.loss_curve RUN [RUN ...] --plot FILE.svg` takes the folders of runs that follow each other.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.plots import svg_figure
from models.training.run import SCALARS

WINDOW = 25
"""Rows of the files that a point of the curve averages, because the loss varies from batch to batch."""


def read_runs(folders: Sequence[Path]) -> list[tuple[float, float]]:
    """Return how many thousand crops the network had seen since the first run began, and the loss, of all rows of the runs."""
    rows: list[tuple[float, float]] = []
    crops = 0.0
    for folder in folders:
        seconds = 0.0
        with (folder / SCALARS).open(newline="") as file:
            for row in csv.DictReader(file):
                crops += (float(row["seconds"]) - seconds) * float(row["crops_per_second"]) / 1000
                seconds = float(row["seconds"])
                rows.append((crops, float(row["loss"])))
    return rows


def smoothed(rows: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Return the means of each `window` rows that follow each other."""
    return [tuple(np.mean(rows[start : start + window], axis=0).tolist()) for start in range(len(rows) - window + 1)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of training runs, in their order")
    parser.add_argument("--plot", type=Path, required=True, help="SVG file to write")
    options = parser.parse_args(arguments)
    rows = read_runs(options.runs)
    with svg_figure(options.plot, 6.4, 3.2) as figure:
        axes = figure.subplots()
        curve = smoothed(rows, min(WINDOW, len(rows)))
        axes.plot([crops for crops, _ in curve], [loss for _, loss in curve])
        axes.set(xlabel="thousand crops", ylabel=f"loss, mean of {WINDOW} rows")
        axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
