"""What `n3denoise evaluate --task upscale` measures, and how it shows the scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from models.networks.upscaling_net import FACTORS
from models.upscaling_evaluation import Upscale, UpscalingScore, evaluate_upscaling, mean_scores, report

_FIGURES = ("bicubic dB", "PSNR dB", "gain dB", "bicubic SSIM", "SSIM", "s")
_ENSEMBLE_FIGURES = ("ensemble dB", "ensemble gain dB", "ensemble SSIM")


class UpscalingEvaluation:
    """Reduces images, enlarges them again, and measures the results; see `models.upscaling_evaluation`."""

    def __init__(self, upscale: Upscale, factors: Sequence[int] | None, sigmas: Sequence[float] | None, ensemble: bool) -> None:
        """Take the network and what to measure; by default, all factors without noise."""
        self._upscale, self._factors, self._sigmas = upscale, factors or FACTORS, sigmas or (0.0,)
        self._ensemble = ensemble
        self.per_image = len(self._factors) * len(self._sigmas)

    def scores(self, folder: Path) -> Iterator[UpscalingScore]:
        """Measure the images of a folder."""
        for sigma in self._sigmas:
            yield from evaluate_upscaling(self._upscale, folder, self._factors, sigma, ensemble=self._ensemble)

    def image_table(self, folder: str, scores: Sequence[UpscalingScore]) -> Table:
        """Return a table with a row for each score."""
        table = self._table(folder, "image", "factor", "sigma")
        for score in scores:
            table.add_row(score.image, str(score.factor), f"{score.sigma:g}", *_figures(asdict(score)))
        return table

    def mean_table(self, sets: Mapping[str, Sequence[UpscalingScore]]) -> Table:
        """Return a table of mean scores with a row for each folder, factor and noise level."""
        table = self._table("mean on luma, without a border as wide as the factor", "folder", "factor", "sigma", "images")
        for folder, scores in sets.items():
            images = len({score.image for score in scores})
            for sigma in self._sigmas:
                for factor, mean in mean_scores([score for score in scores if score.sigma == sigma]).items():
                    table.add_row(folder, str(factor), f"{sigma:g}", str(images), *_figures(mean))
        return table

    def report(self, scores: Sequence[UpscalingScore]) -> dict[str, Any]:
        """Return the scores of a folder and their means as plain values for JSON."""
        return report(scores)

    def _table(self, title: str, name: str, *columns: str) -> Table:
        table = Table(title=title)
        table.add_column(name, justify="left")
        for column in (*columns, *_FIGURES, *_ENSEMBLE_FIGURES * self._ensemble):
            table.add_column(column, justify="right")
        return table


def _figures(mean: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of a score or of a mean."""
    bicubic, averaged = mean["psnr_bicubic"], mean.get("psnr_ensemble")
    decibels = (bicubic, mean["psnr"], mean["psnr"] - bicubic)
    cells = [f"{value:.3f}" for value in decibels] + [f"{mean[name]:.4f}" for name in ("ssim_bicubic", "ssim")]
    cells.append(f"{mean['seconds']:.2f}")
    if averaged is not None:
        cells += [f"{averaged:.3f}", f"{averaged - bicubic:.3f}", f"{mean['ssim_ensemble']:.4f}"]
    return tuple(cells)
