"""Figures of the studies show what they are about: curves are neither covered nor too close to tell apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studies.attention import draw_curves
from studies.report import Options, Report
from studies.selection_numerics import membership


class Drawn(Report):
    """A report that keeps its last figure, drawn."""

    @contextmanager
    def figure(self, name: str, width: float = 9.0, height: float = 3.2) -> Iterator[Figure]:
        with super().figure(name, width, height) as self.drawn:
            yield self.drawn
        FigureCanvasAgg(self.drawn).draw()  # type: ignore[no-untyped-call]


@pytest.fixture
def report(tmp_path: Path) -> Drawn:
    return Drawn(Options(tmp_path), "page.md")


def covered(axis: Axes, figure: Figure) -> int:
    """Count the points of the curves of an axis that lie under its legend or a legend of the figure."""
    legends = [each for each in (axis.get_legend(), *figure.legends) if each]
    boxes = [legend.get_window_extent() for legend in legends]
    points = [point for line in axis.lines for point in axis.transData.transform(line.get_xydata())]
    return sum(box.contains(*point) for box in boxes for point in points)


def test_the_legend_of_the_membership_covers_no_curve(report: Drawn) -> None:
    membership(report, 60)
    assert len(report.drawn.axes) == 3
    assert report.drawn.legends
    assert all(covered(axis, report.drawn) == 0 for axis in report.drawn.axes)


def test_tenths_of_a_percent_can_be_told_apart(report: Drawn) -> None:
    start = [0.7, 0.95, 0.98]
    draw_curves(report, {"without": [[*start, 0.990]], "with": [[*start, 0.9933]]})
    (axis,) = report.drawn.axes
    heights = {
        name: axis.transData.transform(line.get_xydata())[-1][1]
        for line in axis.lines
        if not (name := str(line.get_label())).startswith("_")
    }
    assert abs(heights["with"] - heights["without"]) > 0.05 * axis.get_window_extent().height
    assert covered(axis, report.drawn) == 0
