"""Training: from folders of images to a weights file, in a run folder that can be stopped and gone on with at any step."""

import csv
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models.machine import flush_denormals
from models.networks.config import NetworkConfig, parse_config
from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import Step, Trainer
from models.weights.files import Weights, save_weights

CHECKPOINT = "checkpoint.pt"
SCALARS = "scalars.csv"
WEIGHTS = "weights.safetensors"
COLUMNS = ("step", "seconds", "crops_per_second", "loss", "gradient_norm", "rate", "skipped")
LONGEST_STEP = 60.0  # seconds that one step may add to the time budget: a suspended process does not use it up


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        step: Steps done.
        seconds: Computing time of all its sessions.
        done: Share of the schedule, 0 to 1.
        loss: Mean over the latest steps.
        crops_per_second: Over the latest steps.
        skipped: Steps skipped since the beginning.
    """

    step: int
    seconds: float
    done: float
    loss: float
    crops_per_second: float
    skipped: int


@dataclass(frozen=True)
class Result:
    """How a session of training ended.

    Attributes:
        weights: The exported file, the weight average.
        sha256: Its digest.
        progress: Where the run stopped.
        finished: Whether its schedule is done; if not, the same command goes on from the checkpoint.
    """

    weights: Path
    sha256: str
    progress: Progress
    finished: bool


def train(
    sources: Sequence[Path | str],
    run: Path | str,
    recipe: Recipe,
    *,
    config: NetworkConfig | None = None,
    start: Weights | None = None,
    max_minutes: float | None = None,
    session_steps: int | None = None,
    device: str = "auto",
    compiled: bool = False,
    checkpoint_minutes: float = 5.0,
    log_steps: int = 20,
    report: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Train until the schedule, the time budget or the caller ends it; always ends with a checkpoint and a weights file.

    A run folder that holds a checkpoint is gone on with, to the bit as if it had never stopped on the same CPU.

    Args:
        sources: Folders of images, or image sets packed by `ImageSet.save`.
        run: Folder of the run: checkpoint, scalars, weights.
        recipe: The choices. Without `steps` the schedule follows `max_minutes`.
        config: Geometry of a fresh network; None: the published one, or that of `start`.
        start: Weights to begin with; only looked at when the run folder holds no checkpoint.
        max_minutes: Computing time of the whole run, over all sessions.
        session_steps: Steps of this session at most.
        device: "auto", "cpu" or "cuda".
        compiled: Whether to compile the network (`torch.compile`).
        checkpoint_minutes: Time between checkpoints.
        log_steps: Steps between rows of the CSV file and calls of `report`.
        report: Told where the run is.
        stop: Asked after each step whether to end.

    Returns:
        The weights file and where the run is.

    Raises:
        ValueError: If there is nothing to train on, no end is given, or the run folder holds a run with another recipe.
        TrainingError: If too many steps in a row were not finite.
    """
    if recipe.steps is None and max_minutes is None:
        raise ValueError("training needs an end: a number of steps or of minutes")
    images = ImageSet.read(sources)
    config = config or (start.config if start else N3NetConfig())
    if start and start.config != config:
        raise ValueError("the weights to start from have another configuration")
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    flush_denormals()
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(images, config, recipe, where, start.state if start else None)
    used = _resume(run, trainer)
    if compiled:
        # On a GPU the launches of some thousand small kernels a step are the limit: record them as graphs.
        trainer.forward = torch.compile(trainer.network, mode="reduce-overhead" if where.type == "cuda" else None)
    budget = None if max_minutes is None else max_minutes * 60
    scalars = _Scalars(run / SCALARS, recipe, trainer.steps)
    last_checkpoint, session = used, 0

    def schedule() -> float:
        if recipe.steps is not None:
            return trainer.steps / recipe.steps
        assert budget is not None  # checked above
        return used / budget

    while schedule() < 1 and (budget is None or used < budget) and session != session_steps:
        begin = time.monotonic()
        step = trainer.step(schedule())
        used += min(time.monotonic() - begin, LONGEST_STEP)
        session += 1
        scalars.add(step)
        if trainer.steps % log_steps == 0:
            report(scalars.write(trainer, used, min(schedule(), 1.0)))
        if used - last_checkpoint >= checkpoint_minutes * 60:
            _save(run, trainer, used)
            last_checkpoint = used
        if stop():
            break
    where_it_is = scalars.write(trainer, used, min(schedule(), 1.0))
    report(where_it_is)
    _save(run, trainer, used)
    facts = training_facts(trainer, images, start, used)
    path = run / WEIGHTS
    sha256 = save_weights(path, config, trainer.average, recipe.sigma_range, facts)
    return Result(path, sha256, where_it_is, schedule() >= 1)


def training_facts(trainer: Trainer, images: ImageSet, start: Weights | None, seconds: float) -> dict[str, str]:
    """Return what a card says of a run: data, steps, hardware, time."""
    recipe = trainer.recipe
    name = torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else platform.machine()
    return {
        "images": str(len(images)),
        "steps": str(trainer.steps),
        "crops": f"{trainer.steps} x {recipe.batch} of {recipe.crop} px",
        "skipped": str(trainer.skipped),
        "start": f"{start.name} ({start.sha256[:12]})" if start else "fresh",
        "recipe": ", ".join(f"{key}={value}" for key, value in recipe.asdict().items()),
        "hardware": f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "minutes": f"{seconds / 60:.1f}",
    }


class _Scalars:
    """The CSV file of a run, and the figures since its last row."""

    def __init__(self, path: Path, recipe: Recipe, steps: int) -> None:
        """Open the file for a run of so many steps; rows past them, from after the checkpoint, go."""
        rows: list[list[str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= steps]
        self.path, self.batch = path, recipe.batch
        self.since: list[Step] = []
        self.began = time.monotonic()
        self.latest = (float("nan"), 0.0)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])

    def add(self, step: Step) -> None:
        """Note a step."""
        self.since.append(step)

    def write(self, trainer: Trainer, seconds: float, done: float) -> Progress:
        """Write a row for the steps since the last one, if there were any, and return where the run is."""
        if good := [step for step in self.since if not step.skipped]:
            loss = sum(step.loss for step in good) / len(good)
            speed = len(self.since) * self.batch / max(time.monotonic() - self.began, 1e-9)
            self.latest = (loss, speed)
            norm = sum(step.gradient_norm for step in good) / len(good)
            figures = (f"{seconds:.1f}", f"{speed:.2f}", f"{loss:.5f}", f"{norm:.4f}", f"{good[-1].rate:.5f}")
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow((trainer.steps, *figures, trainer.skipped))
        self.since, self.began = [], time.monotonic()
        return Progress(trainer.steps, seconds, done, *self.latest, trainer.skipped)


def _resume(run: Path, trainer: Trainer) -> float:
    """Restore the run's checkpoint, if it has one, and return the seconds it has used."""
    path = run / CHECKPOINT
    if not path.is_file():
        return 0.0
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    stored = Recipe.parse(state["recipe"])
    if replace(stored, steps=None) != replace(trainer.recipe, steps=None):
        raise ValueError(f"{run} holds a run with another recipe; take another run folder, or the same recipe")
    if parse_config(state["config"]) != trainer.config:
        raise ValueError(f"{run} holds a run of a network with another configuration")
    trainer.restore(state)
    return float(state["seconds"])


def _save(run: Path, trainer: Trainer, seconds: float) -> None:
    path = run / CHECKPOINT
    temporary = path.with_suffix(".new")
    torch.save({**trainer.state(), "seconds": seconds}, temporary)
    temporary.replace(path)  # a kill during the write leaves the old checkpoint whole
