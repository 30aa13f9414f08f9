"""The share of each kind of operation in a training step."""

from pathlib import Path

import pytest
import torch

from benchmarks.training.speed import shares
from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import Trainer, fresh_network
from tests.support.image_folders import noise_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return noise_pictures(tmp_path / "pictures")


@pytest.mark.parametrize("frozen", [False, True])
def test_the_time_of_a_step_is_told_by_operations(pictures: Path, frozen: bool) -> None:
    recipe = Recipe(batch=2, freeze_statistics=frozen)
    network = fresh_network(N3NetConfig(depth=3).build, recipe.seed)
    found = shares(Trainer(network, ImageSet.read([pictures]), recipe, torch.device("cpu")))
    assert sum(found.values()) == pytest.approx(1)
    assert all(share >= 0 for share in found.values())
    assert min(found["convolutions, forward"], found["convolutions, backward"], found["products of the N3 blocks"]) > 0
