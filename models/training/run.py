"""Training runs: from folders of images to a weights file, in a run folder from which training can resume at any step."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models.inference.device import choose_device
from models.machine import flush_denormals
from models.networks.config import NetworkConfig
from models.networks.n3net import N3NetConfig
from models.networks.upscaling_net import EarlyUpscalingConfig, UpscalingConfig
from models.training.checkpoint import load_checkpoint, save_checkpoint
from models.training.gain import psnr_gain
from models.training.image_set import ImageSet
from models.training.recipe import Recipe, RecipeError
from models.training.scalars import Scalars, TrainingProgress
from models.training.trainer import Trainer, fresh_network
from models.weights.files import Weights, save_weights

CHECKPOINT = "checkpoint.pt"
SCALARS = "scalars.csv"
WEIGHTS = "weights.safetensors"
LONGEST_STEP = 60.0  # seconds of the time budget that one step can use; a suspended process does not use up the rest


@dataclass(frozen=True)
class TrainingOptions:
    """How a session of training is carried out. Unlike the recipe, it may differ between the sessions of a run.

    Attributes:
        max_minutes: Limit on the computing time of the whole run, over all sessions; None for no limit.
        session_steps: Limit on the number of steps of this session; None for no limit.
        device: "auto", "cpu" or "cuda".
        compiled: Whether to compile the network with `torch.compile`.
        checkpoint_minutes: Time between checkpoints, each with a weights file.
        log_steps: Number of steps between rows of the CSV file, and between calls of `report`.
    """

    max_minutes: float | None = None
    session_steps: int | None = None
    device: str = "auto"
    compiled: bool = False
    checkpoint_minutes: float = 5.0
    log_steps: int = 20


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a session of training.

    Attributes:
        weights: The exported weights file, which holds the average of the weights.
        sha256: Its digest.
        progress: How far the run is.
        finished: Whether the schedule is done. If not, the same call resumes from the checkpoint.
        gain: By how many dB the exported weights improve the PSNR of noisy training crops, see `psnr_gain`.
    """

    weights: Path
    sha256: str
    progress: TrainingProgress
    finished: bool
    gain: float


def train(
    sources: Sequence[Path | str],
    folder: Path | str,
    recipe: Recipe,
    options: TrainingOptions = TrainingOptions(),
    *,
    config: NetworkConfig | None = None,
    start: Weights | None = None,
    report: Callable[[TrainingProgress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train until the schedule is done, a limit is reached, or the caller stops; then write a checkpoint and a weights file.

    If the run folder holds a checkpoint, training resumes from it. On one CPU, the result is the same to the bit as that of a run
    without interruption.

    Args:
        sources: Folders of images, or image sets saved with `ImageSet.save`.
        folder: The run folder, which gets the checkpoint, the CSV file and the weights.
        recipe: The configuration. Without `steps`, the schedule follows `options.max_minutes`.
        options: How to carry out this session.
        config: Configuration of the network; None takes that of `start`, or else the published one.
        start: Weights to start from; None starts from random weights. A run folder with a checkpoint ignores them.
        report: Called with the progress.
        stop: Asked after each step whether to stop.

    Raises:
        RecipeError: If the run has no end, `start` does not fit `config`, a crop does not fit into an image, or the run folder
            holds a run with another recipe or configuration.
        ValueError: If there is no image, or a file cannot be read.
        TrainingError: If too many steps in a row had a loss or gradient that is not finite.
    """
    if recipe.steps is None and options.max_minutes is None:
        raise RecipeError("training needs an end: a number of steps or of minutes", "steps", "max_minutes")
    config = config or (start.config if start else N3NetConfig())
    _check(recipe, config, start)
    images = ImageSet.read(sources, config.channels)
    flush_denormals()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    network = fresh_network(config.build, recipe.seed)
    if start:
        network.load_state_dict(start.state)
    device, _ = choose_device(options.device)
    trainer = Trainer(network, images, recipe, device)
    checkpoint = folder / CHECKPOINT
    used = load_checkpoint(checkpoint, trainer, config) if checkpoint.is_file() else 0.0
    if options.compiled:
        trainer.compile()
    budget = None if options.max_minutes is None else options.max_minutes * 60
    scalars = Scalars(folder / SCALARS, trainer)
    saved_at, session = used, 0

    def save() -> str:
        save_checkpoint(checkpoint, trainer, config, used)
        return save_weights(folder / WEIGHTS, config, trainer.average, recipe.sigma_range, training_facts(trainer, start, used))

    def schedule() -> float:
        if recipe.steps is not None:
            return trainer.steps / recipe.steps
        assert budget is not None  # checked above
        return used / budget

    while schedule() < 1 and (budget is None or used < budget) and session != options.session_steps:
        begin = time.monotonic()
        step = trainer.step(schedule())
        used += min(time.monotonic() - begin, LONGEST_STEP)
        session += 1
        scalars.add(step)
        if trainer.steps % options.log_steps == 0:
            report(scalars.write(used, min(schedule(), 1.0)))
        if used - saved_at >= options.checkpoint_minutes * 60:
            save()
            saved_at = used
        if stop():
            break
    progress = scalars.write(used, min(schedule(), 1.0))
    report(progress)
    sha256 = save()
    gain = psnr_gain(trainer, fresh_network(config.build, recipe.seed))
    return TrainingResult(folder / WEIGHTS, sha256, progress, schedule() >= 1, gain)


def _check(recipe: Recipe, config: NetworkConfig, start: Weights | None) -> None:
    """Check that the choices fit each other.

    Raises:
        RecipeError: If they do not.
    """
    if start and start.config != config:
        raise RecipeError("the weights to start from have another configuration", "start", "model", "relaxation")
    if not config.channels:
        raise RecipeError("a network that classifies matches sees no images and cannot be trained on them", "start")
    if bool(recipe.factors) != isinstance(config, UpscalingConfig | EarlyUpscalingConfig):
        raise RecipeError("factors are for networks that enlarge images, and for no others", "model", "start", "factors")


def training_facts(trainer: Trainer, start: Weights | None, seconds: float) -> dict[str, str]:
    """Return the facts about a run that its weights file states: data, steps, recipe, hardware and time.

    Args:
        trainer: The state of the run.
        start: The weights that it started from; None for random ones.
        seconds: Computing time of all sessions.
    """
    recipe = trainer.recipe
    name = torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else platform.machine()
    return {
        "images": str(len(trainer.images)),
        "steps": str(trainer.steps),
        "crops": f"{trainer.steps} x {recipe.batch} of {recipe.crop} px",
        "skipped": str(trainer.skipped),
        "start": f"{start.name} ({start.sha256[:12]})" if start else "fresh",
        "recipe": ", ".join(f"{key}={value}" for key, value in recipe.asdict().items()),
        "hardware": f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "minutes": f"{seconds / 60:.1f}",
    }
