"""What `n3denoise evaluate` measures when it denoises, and how it shows the scores."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from models.evaluation import Score, evaluate_folder, mean_scores, measure_gray, report
from models.methods import Method
from service.cli.color_evaluation import measure_color

_PAPER_SIGMAS = (25.0, 50.0, 70.0)
_ENSEMBLE_COLUMNS = ("ensemble dB", "ensemble SSIM")


class DenoisingEvaluation:
    """Adds noise to clean images, denoises them, and measures the results; see `models.evaluation`."""

    def __init__(
        self, method: Method, sigmas: Sequence[float] | None, seeds: int, ensemble: bool, color: Literal["gray", "rgb"]
    ) -> None:
        """Take the method and what to measure; without noise levels, use those of the paper or the one of the weights."""
        lowest, highest = method.info.sigma_range
        self._sigmas = sigmas or ([lowest] if lowest == highest else [*_PAPER_SIGMAS])
        self._method, self._seeds, self._ensemble = method, seeds, ensemble
        self._measure = measure_gray if color == "gray" else measure_color
        self.per_image = len(self._sigmas) * seeds

    def scores(self, folder: Path) -> Iterator[Score]:
        """Measure the images of a folder."""
        return evaluate_folder(self._method, folder, self._sigmas, self._seeds, self._ensemble, self._measure)

    def image_table(self, folder: str, scores: Sequence[Score]) -> Table:
        """Return a table with a row for each score."""
        table = Table(title=folder)
        for column in ("image", "sigma", "seed", "noisy dB", "PSNR dB", "SSIM", "s", *_ENSEMBLE_COLUMNS * self._ensemble):
            table.add_column(column, justify="left" if column == "image" else "right")
        for score in scores:
            figures = (f"{score.psnr_noisy:.2f}", f"{score.psnr:.3f}", f"{score.ssim:.4f}", f"{score.seconds:.2f}")
            more = (f"{score.psnr_ensemble:.3f}", f"{score.ssim_ensemble:.4f}") if self._ensemble else ()
            table.add_row(score.image, f"{score.sigma:g}", str(score.seed), *figures, *more)
        return table

    def mean_table(self, sets: Mapping[str, Sequence[Score]]) -> Table:
        """Return a table of mean scores with a row for each folder and noise level."""
        table = Table(title="mean")
        for column in ("folder", "sigma", "images", "PSNR dB", "SSIM", "s", *_ENSEMBLE_COLUMNS * self._ensemble):
            table.add_column(column, justify="left" if column == "folder" else "right")
        for folder, scores in sets.items():
            for sigma, mean in mean_scores(scores).items():
                images = len({score.image for score in scores})
                figures = (f"{mean['psnr']:.3f}", f"{mean['ssim']:.4f}", f"{mean['seconds']:.2f}")
                more = (f"{mean['psnr_ensemble']:.3f}", f"{mean['ssim_ensemble']:.4f}") if self._ensemble else ()
                table.add_row(folder, f"{sigma:g}", str(images), *figures, *more)
        return table

    def report(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return the scores of a folder and their means as plain values for JSON."""
        return report(scores)
