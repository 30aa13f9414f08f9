"""Training on generated matches: it learns, can be interrupted, and its losses are those of the paper."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.correspondences.geometry import essential_matrix
from models.correspondences.objective import classification_loss, match_weights, regression_loss
from models.correspondences.scenes import SceneOptions, draw_pairs
from models.correspondences.training import CHECKPOINT, COLUMNS, CURVE, MatchRecipe, MatchTrainer, train_matches
from models.networks.correspondence_net import CorrespondenceConfig
from models.training.recipe import Recipe, RecipeError
from models.training.run import train
from models.weights.files import load_weights

CONFIG = CorrespondenceConfig(features=8, blocks=2, embedding=3, values=4, k=3)
RECIPE = MatchRecipe(steps=8, batch=2, scenes=SceneOptions(matches=40), warmup_steps=2, seed=3)


def test_the_classes_have_the_same_weight() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.1], [1.0, 1.0, 1.0, 1.0]])
    correct = torch.tensor([[True, False, False, False], [True, True, False, True]])
    losses = np.log1p(np.exp(np.where(correct, -1, 1) * logits.numpy()))
    expected = np.mean([(losses[0, 0] + losses[0, 1:].mean()) / 2, (losses[1, [0, 1, 3]].mean() + losses[1, 2]) / 2])
    assert classification_loss(logits, correct).item() == pytest.approx(expected)
    assert classification_loss(logits, torch.zeros_like(correct)).isfinite()


def test_weights_are_those_of_the_paper() -> None:
    logits = torch.tensor([[-3.0, 0.0, 0.5, 4.0]])
    np.testing.assert_allclose(match_weights(logits), np.tanh(np.maximum(logits.numpy(), 0)), rtol=1e-6)


def test_the_regression_is_zero_for_the_true_weights_of_exact_matches() -> None:
    pairs = draw_pairs(SceneOptions(noise=(0, 0)), 6, torch.Generator().manual_seed(0))
    logits = torch.where(pairs.correct, 3.0, -3.0)
    essential = essential_matrix(pairs.rotation, pairs.translation)
    for sign in (-1, 1):
        assert regression_loss(logits, pairs.matches, sign * essential) < 1e-4
    assert regression_loss(-logits, pairs.matches, essential) > 0.05


def test_the_regression_begins_after_the_warm_up() -> None:
    trainer = MatchTrainer(CONFIG, replace(RECIPE, regression_start=0.5))
    regressions = [trainer.step()[1] for _ in range(8)]
    assert np.isnan(regressions).tolist() == [True] * 4 + [False] * 4


def test_it_learns() -> None:
    recipe = replace(RECIPE, steps=60, batch=4, scenes=SceneOptions(matches=64, outlier_share=(0.5, 0.5), repeated_share=(0, 0)))
    trainer = MatchTrainer(replace(CONFIG, features=16), recipe)
    losses = [trainer.step()[0] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5])


@pytest.mark.parametrize("n3_blocks", [0, 1])
def test_an_interrupted_run_is_the_same_to_the_bit(n3_blocks: int, tmp_path: Path) -> None:
    config = replace(CONFIG, n3_blocks=n3_blocks)
    whole = load_weights(train_matches(tmp_path / "whole", config, RECIPE, every=2))
    for _ in range(2):
        parts = load_weights(train_matches(tmp_path / "parts", config, RECIPE, every=2, session_steps=4))
    assert all(torch.equal(parts.state[key], value) for key, value in whole.state.items())
    assert parts.config == config
    assert parts.facts["steps"] == "8 x 2 pairs of 40 matches"
    rows = list(csv.reader((tmp_path / "parts" / CURVE).read_text(encoding="utf-8").splitlines()))
    assert rows[0] == list(COLUMNS)
    assert [row[0] for row in rows[1:]] == ["2", "4", "6", "8"]


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    train_matches(tmp_path, CONFIG, RECIPE, session_steps=1)
    assert (tmp_path / CHECKPOINT).is_file()
    with pytest.raises(ValueError, match="another configuration or recipe"):
        train_matches(tmp_path, CONFIG, replace(RECIPE, seed=4))
    with pytest.raises(ValueError, match="another configuration or recipe"):
        train_matches(tmp_path, replace(CONFIG, k=2), RECIPE)


def test_images_do_not_train_it(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="sees no images"):
        train([tmp_path], tmp_path / "run", Recipe(steps=1), config=CONFIG)
    assert not (tmp_path / "run").exists()
