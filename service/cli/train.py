"""`n3denoise train`: train a network on folders of images and export a weights file."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.cli.options import FLAG

if TYPE_CHECKING:
    from models.training.scalars import TrainingProgress

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a run after its current step, with a checkpoint and a weights file."""

_WITHOUT_OPTION = frozenset(
    {"antithetic", "factors", "low_share", "low_part", "optimizer", "weight_decay", "warmup_steps", "clip"}
)
"""Choices of a recipe that no option sets."""


def train(
    sources: Annotated[list[Path], typer.Argument(help="Folders of clean images, or .npz files of packed images.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder; training resumes from its checkpoint if it has one.")
    ],
    start: Annotated[
        str | None, typer.Option("--from", help="Weights to start from, instead of random ones: a shipped name or a file.")
    ] = None,
    noise: Annotated[
        Literal["white", "photographs"] | None,
        typer.Option(
            help="Noise to train on: white noise, or the noise of simulated photographs (for photo and noise-level).",
            show_default="white",
        ),
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(
            help="For photo: weights that estimate the noise, a shipped name or a file. The network learns how far to trust "
            "them.",
            show_default="random errors",
        ),
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Train for this noise level only (0-255 scale).")] = None,
    sigma_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Train for noise levels in this range (0-255 scale), two numbers: --sigma-range 0 50.",
            show_default="0 75",
        ),
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
        Literal["n3net", "n3unet", "n3unet-color", "photo", "noise-level", "upscale", "upscale-early", "dncnn"] | None,
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
        bool, typer.Option("--freeze-statistics", metavar=FLAG, help="Freeze batch-norm statistics (for fine-tuning).")
    ] = False,
    device: Annotated[str, typer.Option(help="Compute device: auto (CUDA if available), cpu or cuda.")] = "auto",
    compiled: Annotated[
        bool,
        typer.Option("--compile", metavar=FLAG, help="Compile the network with torch.compile (needs a C++ compiler or a GPU)."),
    ] = False,
) -> None:
    """Train a network on clean images and export its weights.

    Stop a run with Ctrl-C. Repeat the same command to resume it; on the same CPU, the result is bit-identical.
    """
    from models.machine import keep_freed_memory
    from models.networks.config import DEFAULT_CONFIGS
    from models.networks.noise_level_net import NoiseLevelConfig
    from models.networks.upscaling_net import FACTORS, EarlyUpscalingConfig, UpscalingConfig
    from models.training.recipe import Recipe, RecipeError
    from models.training.run import TrainingOptions
    from models.training.run import train as run_training
    from models.training.trainer import TrainingError
    from models.weights.files import load_weights

    if sigma is not None and sigma_range is not None:
        raise typer.BadParameter("give --sigma for one noise level or --sigma-range for several, not both")
    keep_freed_memory()
    stopping: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: stopping.append(number)) for number in STOPPING}
    given: dict[str, Any] = {
        "noise": noise,
        "estimator": estimator,
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
    display = _Display()
    try:
        begin = load_weights(start) if start else None
        config = DEFAULT_CONFIGS[model or "n3net"] if model or relaxation else None
        enlarges = isinstance(config or (begin and begin.config), UpscalingConfig | EarlyUpscalingConfig)
        given |= {"factors": FACTORS} if enlarges else {}
        recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
        if config and relaxation:
            if isinstance(config, NoiseLevelConfig):
                raise RecipeError("a network that estimates noise selects no neighbors", "model", "relaxation")
            config = replace(config, relaxation=relaxation)
        result = run_training(
            sources,
            output,
            recipe,
            TrainingOptions(max_minutes=max_minutes, device=device, compiled=compiled),
            config=config,
            start=begin,
            report=display.show,
            stop=lambda: bool(stopping),
        )
    except (ValueError, OSError, TrainingError) as error:
        display.close()
        names = error.names if isinstance(error, RecipeError) else ("learning_rate",) * isinstance(error, TrainingError)
        typer.echo(f"{error}{_options_of(names, one_sigma=sigma is not None)}", err=True)
        raise typer.Exit(2) from None
    finally:
        display.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    typer.echo(f"{result.weights} · step {result.progress.step} · {'finished' if result.finished else 'can be resumed'}")
    if result.gain < 0:
        middle = sum(recipe.sigma_range) / 2
        typer.echo(
            f"warning: these weights are worse than the noise: at sigma {middle:g}, they lower the PSNR of noisy training crops "
            f"by {-result.gain:.1f} dB; train longer (--steps, --max-minutes)",
            err=True,
        )


def _options_of(names: tuple[str, ...], one_sigma: bool) -> str:
    """Return the options that set the choices with these names, in parentheses to follow an error message."""
    special = {"start": "--from", "sigma_range": "--sigma" if one_sigma else "--sigma-range"}
    # Some choices have no option: they can differ only in a run folder that was not made by this command.
    options = [special.get(name, f"--{name.replace('_', '-')}") for name in names if name not in _WITHOUT_OPTION]
    return f" ({', '.join(options)})" if options else ""


class _Display:
    """What the terminal shows of a run: a message until the first figures arrive, then a progress bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._starting = console.status("reading the images and taking the first steps")
        self._starting.start()
        text = "loss {task.fields[loss]:.4f} · {task.fields[rate]:.1f} crops/s · {task.fields[skipped]} skipped"
        ends = BarColumn(), TextColumn(text), TimeElapsedColumn(), TimeRemainingColumn()
        self._bar = Progress(TextColumn("step {task.fields[step]}"), *ends, console=console)
        self._task = self._bar.add_task("", total=1.0, step=0, loss=0.0, rate=0.0, skipped=0)
        self._shown = False

    def show(self, at: "TrainingProgress") -> None:
        """Show the figures of a step."""
        self._bar.update(self._task, completed=at.done, step=at.step, loss=at.loss, rate=at.crops_per_second, skipped=at.skipped)
        if not self._shown:
            self._starting.stop()
            self._bar.start()
            self._shown = True

    def close(self) -> None:
        """Leave the last state of the bar, if there is one, on the terminal."""
        self._starting.stop()
        if self._shown:
            self._bar.stop()
