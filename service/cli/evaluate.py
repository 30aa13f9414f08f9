"""`n3denoise evaluate`: measure a model on folders of clean images."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import typer

from service.cli.options import FLAG, Device, MemoryBudget, Model, Precision, in_bytes

if TYPE_CHECKING:
    from rich.table import Table


_PIPED_WIDTH = 200  # columns


class Evaluation(Protocol):
    """What is measured on every folder, and how it is shown.

    Attributes:
        per_image: Number of scores of each image.
    """

    per_image: int

    def scores(self, folder: Path) -> Iterator[Any]:
        """Measure the images of a folder, and yield scores, which have a method `asdict`.

        Raises:
            ValueError: If the folder has no image, a file cannot be read, or the model was not made for what is asked.
        """

    def image_table(self, folder: str, scores: Sequence[Any]) -> "Table":
        """Return a table with a row for each score."""

    def mean_table(self, sets: Mapping[str, Sequence[Any]]) -> "Table":
        """Return a table of mean scores, given the scores of each folder."""

    def report(self, scores: Sequence[Any]) -> dict[str, Any]:
        """Return the scores of a folder and their means as plain values for JSON."""


def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of clean images.")],
    task: Annotated[
        Literal["denoise", "upscale"],
        typer.Option(
            help="What to measure: adding noise and removing it (denoise), or reducing the images and enlarging them again, "
            "bicubically and by the network (upscale)."
        ),
    ] = "denoise",
    sigma: Annotated[
        list[float] | None,
        typer.Option(
            help="Noise levels (0-255 scale), one or more: --sigma 25 50 70.",
            show_default="25 50 70, or the single level that the weights are for; 0 to upscale",
        ),
    ] = None,
    factor: Annotated[
        list[int] | None,
        typer.Option(
            help="For upscale: factors from 2 to 4, one or more: --factor 2 3 4.",
            show_default="2 3 4",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of noise samples per image, with seeds 0, 1, 2, ...")] = 1,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble", metavar=FLAG, help="Also measure the average over eight flips and rotations (eight times slower)."
        ),
    ] = False,
    color: Annotated[
        Literal["gray", "rgb"],
        typer.Option(
            help="Convert color to grayscale, as in the paper (gray); or add noise to every channel, denoise in color, and "
            "measure over all channels (rgb)."
        ),
    ] = "gray",
    model: Model = "n3unet",
    weights: Annotated[
        str,
        typer.Option(
            help="Weights that replace those of n3unet, or to upscale those for super-resolution: the name of shipped weights, "
            "or a .safetensors file. Other models take none."
        ),
    ] = "default",
    device: Device = "auto",
    dtype: Precision = "auto",
    memory_budget: MemoryBudget = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all results to this file as JSON.")] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write all results to this file as CSV, a line for each score.")
    ] = None,
) -> None:
    """Add noise to clean images, or reduce them, restore them, and report PSNR, SSIM and time per image and on average."""
    if json_file and csv_file and json_file.resolve() == csv_file.resolve():
        raise typer.BadParameter("--json and --csv name the same file")
    if task == "upscale" and (color == "rgb" or seeds > 1 or model != "n3unet"):
        raise typer.BadParameter("--task upscale measures luma, and takes no --color, --seeds or --model")
    if task == "denoise" and factor:
        raise typer.BadParameter("--factor is for --task upscale")
    loading = {"device": device, "dtype": dtype, "memory_budget": in_bytes(memory_budget)}
    try:
        if task == "upscale":
            evaluation = _upscaling(None if weights == "default" else weights, loading, factor, sigma, ensemble)
        else:
            evaluation = _denoising(model, weights, loading, sigma, seeds, ensemble, color)
        for file in filter(None, (json_file, csv_file)):
            file.open("a").close()  # fails now, and not after the measurements, if the file cannot be written
        sets = _measured(evaluation, folders)
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    _report(evaluation, sets, json_file, csv_file)


def _denoising(
    model: str,
    weights: str,
    loading: dict[str, Any],
    sigmas: list[float] | None,
    seeds: int,
    ensemble: bool,
    color: Literal["gray", "rgb"],
) -> Evaluation:
    from models.methods import load_method
    from service.cli.denoising_evaluation import DenoisingEvaluation

    return DenoisingEvaluation(load_method(model, weights=weights, **loading), sigmas, seeds, ensemble, color)


def _upscaling(
    weights: str | None, loading: dict[str, Any], factors: list[int] | None, sigmas: list[float] | None, ensemble: bool
) -> Evaluation:
    from models.upscaling_evaluation import load_upscale
    from service.cli.upscaling_evaluation import UpscalingEvaluation

    return UpscalingEvaluation(load_upscale(weights, **loading), factors, sigmas, ensemble)


def _measured(evaluation: Evaluation, folders: list[Path]) -> dict[str, list[Any]]:
    """Return the scores of each folder, and show the progress."""
    from rich.console import Console
    from rich.progress import Progress

    from models.images.files import image_files

    sets: dict[str, list[Any]] = {}
    total = sum(len(image_files(folder)) for folder in folders) * evaluation.per_image
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=total)
        for folder in folders:
            scores = sets.setdefault(str(folder), [])
            for score in evaluation.scores(folder):
                scores.append(score)
                progress.advance(task)
    return sets


def _report(evaluation: Evaluation, sets: dict[str, list[Any]], json_file: Path | None, csv_file: Path | None) -> None:
    """Print the tables, and write the files that are asked for."""
    import json

    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width, for which columns would have to be cut
        console.width = max(console.width, _PIPED_WIDTH)
    for folder, scores in sets.items():
        console.print(evaluation.image_table(folder, scores))
    console.print(evaluation.mean_table(sets))
    if json_file:
        reports = {name: evaluation.report(scores) for name, scores in sets.items()}
        content = next(iter(reports.values())) if len(reports) == 1 else {"sets": reports}
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if csv_file:
        _write_csv(csv_file, sets)


def _write_csv(path: Path, sets: dict[str, list[Any]]) -> None:
    """Write a line for each score, with its folder; a value that is not finite leaves its cell empty."""
    import csv

    rows = [{"folder": folder, **score.asdict()} for folder, scores in sets.items() for score in scores]
    columns = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
