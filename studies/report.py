"""Where a study's results go: plots beside its page, tables between the page's markers, everything also on the terminal."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

PAGES = Path(__file__).parent.parent / "docs" / "studies"

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.size": 9,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "n3denoise",  # the same picture twice is the same file twice
}


@dataclass(frozen=True)
class Options:
    """What the command line says to every study.

    Attributes:
        out: Folder of the pages and plots.
        quick: Whether to run on tiny sizes, to see that all works; the numbers then mean nothing.
        digits: Folder of MNIST's IDX files in place of scikit-learn's digits.
        images: Folder of photographs in place of scikit-image's.
    """

    out: Path = PAGES
    quick: bool = False
    digits: Path | None = None
    images: Path | None = None


class Report:
    """One page under docs/studies."""

    def __init__(self, options: Options, page: str) -> None:
        self.out = options.out
        self.path = options.out / page
        self.out.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def figure(self, name: str, width: float = 9.0, height: float = 3.2) -> Iterator[Figure]:
        """Give an empty figure of so many inches and save it as `name`.svg, or .png where `name` says so."""
        with mpl.rc_context(STYLE):
            figure = Figure((width, height), layout="constrained")
            yield figure
            path = self.out / (name if Path(name).suffix else f"{name}.svg")
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None}, dpi=110)
        print(f"  drew {path.name}")

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table and put it on the page, between the markers `<!-- name -->` and `<!-- /name -->`."""
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

        self.block(name, "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)]))

    def block(self, name: str, text: str) -> None:
        """Print a text and put it on the page between its markers; a page without them gets it at its end."""
        print(f"\n{text}\n", flush=True)
        page = self.path.read_text(encoding="utf-8") if self.path.exists() else f"# {self.path.stem}\n"
        marked = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
        pattern = re.compile(rf"<!-- {re.escape(name)} -->.*?<!-- /{re.escape(name)} -->", re.DOTALL)
        page, count = pattern.subn(lambda _: marked, page)
        self.path.write_text(page if count else f"{page}\n{marked}\n", encoding="utf-8")


def panel(axis: Axes, picture: Tensor, title: str, low: float = 0, high: float = 1) -> None:
    """Show a gray picture (H, W), pixel by pixel, which also packs best."""
    axis.imshow(picture.numpy(), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axis.set(xticks=[], yticks=[], title=title)
    axis.grid(visible=False)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Write the mean and the least and greatest of some seeds' results."""
    return f"{sum(values) / len(values):{form}} ({min(values):{form}} to {max(values):{form}})"
