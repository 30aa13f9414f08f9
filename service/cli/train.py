"""`n3denoise train`: from folders of images to a weights file."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a run with a checkpoint and a weights file after the step in hand."""


def train(
    sources: Annotated[list[Path], typer.Argument(help="Folders of images, or image sets packed as .npz.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; one with a checkpoint is gone on with.")],
    start: Annotated[str | None, typer.Option("--from", help="Weights to begin with: name or file.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Tune for one noise level, 0-255 scale.")] = None,
    sigma_range: Annotated[tuple[float, float] | None, typer.Option(help="Noise levels, 0-255 scale.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length of the schedule; else it follows --max-minutes.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0, help="Computing time of the whole run.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops a step.")] = None,
    crop: Annotated[int | None, typer.Option(min=1, help="Side of a crop in pixels.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="At its peak.")] = None,
    decay_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the schedule, at its end, in which the rate falls to zero.")
    ] = None,
    ema: Annotated[float | None, typer.Option(min=0, max=1, help="Decay of the weight average that is exported.")] = None,
    loss: Annotated[Literal["softened_log_mse", "log_mse", "mse"] | None, typer.Option(help="What to minimize.")] = None,
    model: Annotated[Literal["n3net", "n3unet", "dncnn"] | None, typer.Option(help="Of fresh weights: n3net by default.")] = None,
    relaxation: Annotated[Literal["code", "paper"] | None, typer.Option(help="Of fresh weights.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of crops, noise and fresh weights.")] = None,
    freeze_statistics: Annotated[bool, typer.Option("--freeze-statistics", help="Of batch normalization; to fine-tune.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network (needs a C++ compiler or a GPU).")] = False,
) -> None:
    """Train a model. The same command goes on with a run that was stopped, to the bit as if it had not been."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from models.machine import keep_freed_memory
    from models.methods import NETWORKS
    from models.training.recipe import Recipe
    from models.training.run import Progress
    from models.training.run import train as train_run
    from models.training.trainer import TrainingError
    from models.weights.files import load_weights

    keep_freed_memory()
    stopping: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: stopping.append(number)) for number in STOPPING}
    given: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "crop": crop,
        "learning_rate": learning_rate,
        "decay_share": decay_share,
        "ema": ema,
        "loss": loss,
        "seed": seed,
    }
    text = "loss {task.fields[loss]:.4f} · {task.fields[rate]:.1f} crops/s · {task.fields[skipped]} skipped"
    columns = (TextColumn("step {task.fields[step]}"), BarColumn(), TextColumn(text), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        levels = (sigma, sigma) if sigma is not None else sigma_range
        recipe = replace(
            Recipe(freeze_statistics=freeze_statistics), **{name: value for name, value in given.items() if value is not None}
        )
        if levels:
            recipe = replace(recipe, sigma_range=levels)
        config = NETWORKS[model or "n3net"] if model or relaxation else None
        if config and relaxation:
            config = replace(config, relaxation=relaxation)
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=1.0, step=0, loss=float("nan"), rate=0.0, skipped=0)

            def show(at: Progress) -> None:
                bar.update(task, completed=at.done, step=at.step, loss=at.loss, rate=at.crops_per_second, skipped=at.skipped)

            result = train_run(
                sources,
                output,
                recipe,
                config=config,
                start=load_weights(start) if start else None,
                max_minutes=max_minutes,
                device=device,
                compiled=compiled,
                report=show,
                stop=lambda: bool(stopping),
            )
    except (ValueError, TrainingError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    typer.echo(f"{result.weights} · step {result.progress.step} · {'finished' if result.finished else 'can be gone on with'}")
