"""The checkpoint of a training run, from which it resumes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.atomic_write import atomic_write
from models.networks.config import NetworkConfig, parse_config, store_config
from models.training.recipe import Recipe
from models.training.trainer import Trainer


def save_checkpoint(path: Path, trainer: Trainer, config: NetworkConfig, seconds: float) -> None:
    """Write a checkpoint; a run that is killed meanwhile keeps its previous one.

    Args:
        path: The file to write.
        trainer: The state of the run.
        config: The configuration of its network.
        seconds: Computing time that the run has used.
    """
    content = {
        "recipe": trainer.recipe.asdict(),
        "config": store_config(config),
        "seconds": seconds,
        "trainer": trainer.state_dict(),
    }
    with atomic_write(path) as part:
        torch.save(content, part)


def load_checkpoint(path: Path, trainer: Trainer, config: NetworkConfig) -> float:
    """Restore a run from its checkpoint.

    Args:
        path: The file to read.
        trainer: A trainer with the recipe of the run; it gets the state of the run.
        config: The configuration of its network.

    Returns:
        The computing time that the run has used, in seconds.

    Raises:
        ValueError: If the checkpoint has another recipe, apart from the length of the schedule, or another configuration.
    """
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    stored = Recipe.parse(content["recipe"])
    if replace(stored, steps=None) != replace(trainer.recipe, steps=None):
        raise ValueError(f"{path.parent} holds a run with another recipe: use another run folder, or the same recipe")
    if parse_config(content["config"]) != config:
        raise ValueError(f"{path.parent} holds a run of a network with another configuration")
    trainer.load_state_dict(content["trainer"])
    return float(content["seconds"])
