"""`n3denoise train`: train a network on folders of images and export a weights file."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a run after its current step, with a checkpoint and a weights file."""


def train(
    sources: Annotated[list[Path], typer.Argument(help="Folders of clean images, or .npz files of packed images.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder; training resumes from its checkpoint if it has one.")
    ],
    start: Annotated[
        str | None, typer.Option("--from", help="Weights to start from, instead of random ones: a shipped name or a file.")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Train for this noise level only (0-255 scale).")] = None,
    sigma_range: Annotated[
        tuple[float, float] | None, typer.Option(help="Train for noise levels in this range (0-255 scale).", show_default="0 75")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of training steps; without it, the schedule follows --max-minutes.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Limit on the total computing time of the run, in minutes.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Number of image crops per step.", show_default="8")] = None,
    crop: Annotated[int | None, typer.Option(min=1, help="Side length of a crop in pixels.", show_default="80")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.", show_default="0.001")] = None,
    decay_share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Final share of the schedule in which the learning rate falls to zero.", show_default="1"
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Decay of the moving average of the weights that is exported.", show_default="0.999"),
    ] = None,
    loss: Annotated[
        Literal["softened_log_mse", "log_mse", "mse"] | None,
        typer.Option(help="Loss to minimize.", show_default="softened_log_mse"),
    ] = None,
    model: Annotated[
        Literal["n3net", "n3unet", "dncnn"] | None,
        typer.Option(help="Network to train from random weights.", show_default="n3net"),
    ] = None,
    relaxation: Annotated[
        Literal["code", "paper"] | None,
        typer.Option(
            help="Form of the neighbor selection, for random weights: as in the authors' code or as in the paper.",
            show_default="code",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the crops, the noise and the random weights.", show_default="0")
    ] = None,
    freeze_statistics: Annotated[
        bool, typer.Option("--freeze-statistics", help="Freeze batch-norm statistics (for fine-tuning).")
    ] = False,
    device: Annotated[str, typer.Option(help="Compute device: auto (CUDA if available), cpu or cuda.")] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network with torch.compile (needs a C++ compiler or a GPU).")
    ] = False,
) -> None:
    """Train a network on clean images and export its weights.

    Stop a run with Ctrl-C. Repeat the same command to resume it; on one CPU, the result is the same to the bit.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from models.machine import keep_freed_memory
    from models.networks.config import DEFAULT_CONFIGS
    from models.training.recipe import Recipe
    from models.training.run import TrainingOptions
    from models.training.run import train as run_training
    from models.training.scalars import TrainingProgress
    from models.training.trainer import TrainingError
    from models.weights.files import load_weights

    keep_freed_memory()
    stopping: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: stopping.append(number)) for number in STOPPING}
    given: dict[str, Any] = {
        "sigma_range": (sigma, sigma) if sigma is not None else sigma_range,
        "steps": steps,
        "batch": batch,
        "crop": crop,
        "learning_rate": learning_rate,
        "decay_share": decay_share,
        "ema": ema,
        "loss": loss,
        "seed": seed,
        "freeze_statistics": freeze_statistics,
    }
    text = "loss {task.fields[loss]:.4f} · {task.fields[rate]:.1f} crops/s · {task.fields[skipped]} skipped"
    columns = (TextColumn("step {task.fields[step]}"), BarColumn(), TextColumn(text), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
        config = DEFAULT_CONFIGS[model or "n3net"] if model or relaxation else None
        if config and relaxation:
            config = replace(config, relaxation=relaxation)
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=1.0, step=0, loss=float("nan"), rate=0.0, skipped=0)

            def show(at: TrainingProgress) -> None:
                bar.update(task, completed=at.done, step=at.step, loss=at.loss, rate=at.crops_per_second, skipped=at.skipped)

            result = run_training(
                sources,
                output,
                recipe,
                TrainingOptions(max_minutes=max_minutes, device=device, compiled=compiled),
                config=config,
                start=load_weights(start) if start else None,
                report=show,
                stop=lambda: bool(stopping),
            )
    except (ValueError, TrainingError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    typer.echo(f"{result.weights} · step {result.progress.step} · {'finished' if result.finished else 'can be resumed'}")
