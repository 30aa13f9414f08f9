"""The trainer: it skips steps that are not finite, averages the weights, and depends on its seed alone."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import Trainer, TrainingError, fresh_network
from tests.support.image_folders import draw_pictures
from tests.support.training import RECIPE, TINY


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


def trainer(pictures: Path, config: N3NetConfig = TINY, recipe: Recipe = RECIPE, **options: Any) -> Trainer:
    network = fresh_network(config.build, recipe.seed)
    return Trainer(network, ImageSet.read([pictures]), recipe, torch.device("cpu"), **options)


def test_steps_that_are_not_finite_are_skipped_and_counted(pictures: Path) -> None:
    one = trainer(pictures)
    one.step(0)
    good = {key: value.clone() for key, value in one.network.state_dict().items()}
    forward, one.forward = one.forward, lambda noisy, sigma: one.network(noisy * math.nan, sigma)
    step = one.step(0)
    assert step.skipped
    assert one.skipped == 1
    parameters = dict(one.network.named_parameters())
    assert all(torch.equal(parameters[key], good[key]) for key in parameters)
    assert all(value.isfinite().all() for value in one.network.state_dict().values())  # including the running statistics
    one.forward = forward
    assert not one.step(0).skipped
    assert one.skipped_in_a_row == 0
    assert one.skipped == 1


def test_too_many_such_steps_end_the_run_with_a_message(pictures: Path) -> None:
    one = trainer(pictures, most_skipped=2)
    one.forward = lambda noisy, sigma: one.network(noisy * math.nan, sigma)
    one.step(0)
    one.step(0)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        one.step(0)


def test_the_average_follows_the_network(pictures: Path) -> None:
    one = trainer(pictures)
    before = one.average["dncnns.0.0.weight"].clone()
    one.step(0.5)
    decay = min(RECIPE.ema, 2 / 11)
    expected = decay * before + (1 - decay) * one.network.state_dict()["dncnns.0.0.weight"]
    torch.testing.assert_close(one.average["dncnns.0.0.weight"], expected)


def test_the_seed_alone_decides(pictures: Path) -> None:
    torch.manual_seed(1)
    first = trainer(pictures)
    torch.manual_seed(2)
    second = trainer(pictures)
    assert first.step(0) == second.step(0)


@pytest.mark.filterwarnings(
    "ignore:<class 'torch.autograd.function.Function'>:DeprecationWarning"
)  # raised by the compiler itself
def test_a_compiler_can_trace_the_network(pictures: Path) -> None:
    one, traced = trainer(pictures), trainer(pictures)
    torch.compiler.reset()
    traced.forward = torch.compile(
        traced.network, backend="aot_eager", fullgraph=True
    )  # traces the network as a compiler does, but needs no compiler
    assert traced.step(0).loss == pytest.approx(one.step(0).loss, rel=1e-4)


def test_frozen_statistics_stay(pictures: Path) -> None:
    frozen = trainer(pictures, replace(TINY, depth=3), replace(RECIPE, freeze_statistics=True))
    before = {key: value.clone() for key, value in frozen.network.named_buffers()}
    frozen.step(0)
    assert before
    assert all(torch.equal(value, before[key]) for key, value in frozen.network.named_buffers())
