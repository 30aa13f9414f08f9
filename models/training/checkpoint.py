"""The checkpoint of a training run, from which it resumes."""

from pathlib import Path
from typing import Any

import torch

from models.atomic_write import atomic_write
from models.networks.config import NetworkConfig, parse_config, store_config
from models.training.recipe import Recipe, RecipeError
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
        RecipeError: If the checkpoint has another recipe, apart from the length of the schedule, or another configuration.
    """
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    stored = Recipe.parse(content["recipe"])
    given = trainer.recipe.asdict()
    if other := [name for name, value in stored.asdict().items() if name != "steps" and value != given[name]]:
        told = ", ".join(f"{name} = {getattr(stored, name)}" for name in other)
        raise RecipeError(f"{path.parent} holds a run with another recipe ({told}): use its values or another run folder", *other)
    if parse_config(content["config"]) != config:
        raise RecipeError(
            f"{path.parent} holds a run of a network with another configuration: use another run folder",
            *("start", "model", "relaxation"),
        )
    trainer.load_state_dict(content["trainer"])
    return float(content["seconds"])
