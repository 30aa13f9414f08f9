"""Training of a network that classifies matches, on generated pairs of views, in a run folder from which it resumes."""

import csv
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.atomic_write import atomic_write
from models.correspondences.objective import classification_loss, regression_loss
from models.correspondences.scenes import SceneOptions, draw_pairs
from models.networks.config import store_config
from models.networks.correspondence_net import CorrespondenceConfig
from models.training.optimizer import Optimizer
from models.training.recipe import OptimizerKind
from models.training.schedule import rate_factor
from models.training.trainer import fresh_network
from models.weights.files import save_weights

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
WEIGHTS = "weights.safetensors"
COLUMNS = ("step", "seconds", "classification", "regression")


@dataclass(frozen=True, kw_only=True)
class MatchRecipe:
    """The choices that determine what a network learns about matches.

    Attributes:
        steps: Number of steps.
        batch: Pairs of views in a step.
        scenes: How the pairs are drawn.
        inlier_pixels: A match up to this far from its epipolar line belongs to the class of the correct ones.
        regression_start: Share of the steps after which the regression of the essential matrix begins.
        regression_weight: Weight of this regression; the classification has weight 1.
        optimizer: As in `models.training.recipe.Recipe`, as are the following ones.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay of the matrices.
        warmup_steps: Number of steps in which the learning rate rises.
        decay_share: Share of the steps, at their end, in which it falls.
        clip: Largest norm of the gradient.
        ema: Decay of the moving average of the weights, which is exported.
        seed: Seed of the scenes and of the fresh weights.
    """

    steps: int = 600
    batch: int = 8
    scenes: SceneOptions = field(default_factory=SceneOptions)
    inlier_pixels: float = 3.0
    regression_start: float = 0.6
    regression_weight: float = 0.05
    optimizer: OptimizerKind = "muon"
    learning_rate: float = 6e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    decay_share: float = 0.7
    clip: float = 1.0
    ema: float = 0.99
    seed: int = 0


class MatchTrainer:
    """The state of a training run, advanced by one step at a time.

    Attributes:
        network: The network, in training mode.
        average: Moving average of its state dict, which is evaluated and exported.
        steps: Number of steps done.
        seconds: Processor time that they took.
    """

    def __init__(self, config: CorrespondenceConfig, recipe: MatchRecipe) -> None:
        """Begin a run."""
        self.config, self.recipe = config, recipe
        self.network = fresh_network(config.build, recipe.seed).train()
        self.average = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.optimizer = Optimizer(self.network, recipe.weight_decay, recipe.optimizer)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.steps, self.seconds = 0, 0.0

    def step(self) -> tuple[float, float]:
        """Learn from one batch, and return the losses of classification and of regression; NaN before the latter begins."""
        recipe, began = self.recipe, time.process_time()
        progress = self.steps / recipe.steps
        pairs = draw_pairs(recipe.scenes, recipe.batch, self.generator)
        logits = self.network(pairs.matches)
        classification = classification_loss(logits, pairs.inliers(recipe.inlier_pixels))
        regression = torch.tensor(math.nan)
        loss = classification
        if progress >= recipe.regression_start:
            regression = regression_loss(logits, pairs.matches, pairs.essential)
            loss = loss + recipe.regression_weight * regression
        self.network.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip, error_if_nonfinite=True)
        self.optimizer.step(recipe.learning_rate * rate_factor(recipe, self.steps, progress))
        self.steps += 1
        decay = min(recipe.ema, (1 + self.steps) / (10 + self.steps))  # a lower decay at first, to forget the initial weights
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.network.state_dict().values()), 1 - decay)
        self.seconds += time.process_time() - began
        return classification.item(), regression.item()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, with the configuration."""
        return {
            "config": store_config(self.config),
            "recipe": asdict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "counts": (self.steps, self.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: If it is the state of a run with another configuration or recipe.
        """
        if (state["config"], state["recipe"]) != (store_config(self.config), asdict(self.recipe)):
            raise ValueError("this is the state of a run with another configuration or recipe")
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.steps, self.seconds = state["counts"]


def train_matches(
    folder: Path,
    config: CorrespondenceConfig,
    recipe: MatchRecipe,
    *,
    every: int = 50,
    session_steps: int | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train until the steps of the recipe are done; a folder with a checkpoint resumes from it, with the same result to the bit.

    Args:
        folder: The run folder, which gets a checkpoint, the curve of the losses as CSV, and the weights.
        config: The configuration of the network.
        recipe: What to learn.
        every: Number of steps between rows of the CSV file; a checkpoint is written every ten rows.
        session_steps: Limit on the number of steps of this session; None for no limit.
        report: Called with a line of text for each row.

    Returns:
        The weights file, with the moving average of the weights.

    Raises:
        ValueError: If the folder holds a run with another configuration or recipe.
        RuntimeError: If a gradient is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer, checkpoint = MatchTrainer(config, recipe), folder / CHECKPOINT
    rows: list[tuple[str, ...]] = []
    if checkpoint.is_file():
        content = torch.load(checkpoint, weights_only=True)
        trainer.load_state_dict(content["trainer"])
        rows = content["rows"]
    last = recipe.steps if session_steps is None else min(recipe.steps, trainer.steps + session_steps)
    losses: list[tuple[float, float]] = []

    def save() -> None:
        with atomic_write(checkpoint) as part:
            torch.save({"trainer": trainer.state_dict(), "rows": rows}, part)
        with atomic_write(folder / CURVE) as part, part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])

    while trainer.steps < last:
        losses.append(trainer.step())
        if trainer.steps % every == 0:
            means = (f"{sum(each) / len(each):.4f}" for each in zip(*losses, strict=True))
            rows.append((str(trainer.steps), f"{trainer.seconds:.1f}", *means))
            losses = []
            report(" ".join(rows[-1]))
        if trainer.steps % (10 * every) == 0:
            save()
    save()
    save_weights(folder / WEIGHTS, config, trainer.average, (0.0, 0.0), _facts(trainer))
    return folder / WEIGHTS


def _facts(trainer: MatchTrainer) -> dict[str, str]:
    recipe = trainer.recipe
    return {
        "data": "generated pairs of views, models.correspondences.scenes",
        "steps": f"{trainer.steps} x {recipe.batch} pairs of {recipe.scenes.matches} matches",
        "recipe": ", ".join(f"{key}={value}" for key, value in asdict(recipe).items()),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "minutes": f"{trainer.seconds / 60:.1f} of processor time",
    }
