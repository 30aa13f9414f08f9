"""`n3denoise evaluate`: measure a model on folders of clean images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.options import FLAG, Device, MemoryBudget, Model, Precision, Weights, in_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from models.evaluation import Score

_ENSEMBLE_COLUMNS = ("ensemble dB", "ensemble SSIM")
_PAPER_SIGMAS = (25.0, 50.0, 70.0)


def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of clean images.")],
    sigma: Annotated[
        list[float] | None,
        typer.Option(
            help="Noise levels (0-255 scale), one or more: --sigma 25 50 70.",
            show_default="25 50 70, or the single level that the weights are for",
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
    model: Model = "n3net",
    weights: Weights = "default",
    device: Device = "auto",
    dtype: Precision = "auto",
    memory_budget: MemoryBudget = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all results to this file as JSON.")] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write all results to this file as CSV, a line for each image, sigma and seed.")
    ] = None,
) -> None:
    """Add noise to clean images, denoise them, and report PSNR, SSIM and time per image and on average."""
    import json

    from rich.console import Console
    from rich.progress import Progress

    from models.evaluation import evaluate_folder, report
    from models.images.files import image_files
    from models.methods import load_method
    from service.cli.color_evaluation import evaluate_color_folder

    if json_file and csv_file and json_file.resolve() == csv_file.resolve():
        raise typer.BadParameter("--json and --csv name the same file")
    sets: dict[str, list[Score]] = {}
    try:
        method = load_method(model, weights=weights, device=device, dtype=dtype, memory_budget=in_bytes(memory_budget))
        lowest, highest = method.info.sigma_range
        sigmas = sigma or ([lowest] if lowest == highest else [*_PAPER_SIGMAS])
        evaluate_one = evaluate_folder if color == "gray" else evaluate_color_folder
        total = sum(len(image_files(folder)) for folder in folders) * len(sigmas) * seeds
        for file in filter(None, (json_file, csv_file)):
            file.open("a").close()  # fails now, and not after the measurements, if the file cannot be written
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("denoising", total=total)
            for folder in folders:
                scores = sets.setdefault(str(folder), [])
                for score in evaluate_one(method, folder, sigmas, seeds, ensemble):
                    scores.append(score)
                    progress.advance(task)
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    console = Console()
    for folder_name, scores in sets.items():
        console.print(image_table(folder_name, scores, ensemble))
    console.print(mean_table(sets, ensemble))
    if json_file:
        reports = {name: report(scores) for name, scores in sets.items()}
        content = next(iter(reports.values())) if len(reports) == 1 else {"sets": reports}
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if csv_file:
        write_csv(csv_file, sets)


def write_csv(path: Path, sets: "dict[str, list[Score]]") -> None:
    """Write a line for each score, with its folder; a value that is not finite leaves its cell empty."""
    import csv

    rows = [{"folder": folder, **score.asdict()} for folder, scores in sets.items() for score in scores]
    columns = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def image_table(folder: str, scores: "list[Score]", ensemble: bool) -> "Table":
    """Return a table with a row for each score."""
    from rich.table import Table

    table = Table(title=folder)
    for column in ("image", "sigma", "seed", "noisy dB", "PSNR dB", "SSIM", "s", *_ENSEMBLE_COLUMNS * ensemble):
        table.add_column(column, justify="left" if column == "image" else "right")
    for score in scores:
        figures = (f"{score.psnr_noisy:.2f}", f"{score.psnr:.3f}", f"{score.ssim:.4f}", f"{score.seconds:.2f}")
        more = (f"{score.psnr_ensemble:.3f}", f"{score.ssim_ensemble:.4f}") if ensemble else ()
        table.add_row(score.image, f"{score.sigma:g}", str(score.seed), *figures, *more)
    return table


def mean_table(sets: "dict[str, list[Score]]", ensemble: bool) -> "Table":
    """Return a table of mean scores with a row for each folder and noise level."""
    from rich.table import Table

    from models.evaluation import mean_scores

    table = Table(title="mean")
    for column in ("folder", "sigma", "images", "PSNR dB", "SSIM", "s", *_ENSEMBLE_COLUMNS * ensemble):
        table.add_column(column, justify="left" if column == "folder" else "right")
    for folder, scores in sets.items():
        for sigma, mean in mean_scores(scores).items():
            images = len({score.image for score in scores})
            figures = (f"{mean['psnr']:.3f}", f"{mean['ssim']:.4f}", f"{mean['seconds']:.2f}")
            more = (f"{mean['psnr_ensemble']:.3f}", f"{mean['ssim_ensemble']:.4f}") if ensemble else ()
            table.add_row(folder, f"{sigma:g}", str(images), *figures, *more)
    return table
