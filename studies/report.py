"""Output of the studies: plots beside the page, tables between the markers of the page, and everything on the terminal too."""

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
    "svg.hashsalt": "n3denoise",  # so that the same plot gives the same file
}


@dataclass(frozen=True)
class Options:
    """Options of the command line that apply to every study.

    Attributes:
        out: Folder of the pages and plots.
        quick: Whether to use tiny sizes, only to check that everything runs; the figures then mean nothing.
        digits: Folder with the IDX files of MNIST, instead of scikit-learn's digits.
        images: Folder of photographs to train on, instead of scikit-image's and scikit-learn's.
    """

    out: Path = PAGES
    quick: bool = False
    digits: Path | None = None
    images: Path | None = None


class Report:
    """A page in docs/studies."""

    def __init__(self, options: Options, page: str) -> None:
        self.out = options.out
        self.path = options.out / page
        self.out.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def figure(self, name: str, width: float = 9.0, height: float = 3.2) -> Iterator[Figure]:
        """Give an empty figure of a size in inches, and save it as `name`.svg, or as PNG if `name` ends with .png."""
        with mpl.rc_context(STYLE):
            figure = Figure((width, height), layout="constrained")
            yield figure
            path = self.out / (name if Path(name).suffix else f"{name}.svg")
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None}, dpi=110)
        print(f"  drew {path.name}")

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table and write it to the page, between the markers `<!-- name -->` and `<!-- /name -->`."""
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

        self.block(name, "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)]))

    def block(self, name: str, text: str) -> None:
        """Print a text and write it to the page between its markers, or at the end of a page without them."""
        print(f"\n{text}\n", flush=True)
        page = self.path.read_text(encoding="utf-8") if self.path.exists() else f"# {self.path.stem}\n"
        marked = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
        pattern = re.compile(rf"<!-- {re.escape(name)} -->.*?<!-- /{re.escape(name)} -->", re.DOTALL)
        page, count = pattern.subn(lambda _: marked, page)
        self.path.write_text(page if count else f"{page}\n{marked}\n", encoding="utf-8")


def panel(axis: Axes, picture: Tensor, title: str, low: float = 0, high: float = 1) -> None:
    """Show a gray picture, (H, W), without interpolation, which also keeps the file small."""
    axis.imshow(picture.numpy(), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axis.set(xticks=[], yticks=[], title=title)
    axis.grid(visible=False)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return the mean of several results, and the smallest and the largest in parentheses, as text."""
    return f"{sum(values) / len(values):{form}} ({min(values):{form}} to {max(values):{form}})"
