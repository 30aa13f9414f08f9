"""From putative matches to the geometry of two views, with the shipped weights and with a network that knows the answer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.correspondences.estimation import Intrinsics, MatchClassifier, TooFewMatchesError, estimate_essential
from models.correspondences.geometry import eight_point
from models.correspondences.scenes import SceneOptions, draw_pairs
from models.correspondences.scores import mean_average_precision, pose_errors
from models.weights.files import WeightsError

CAMERAS = Intrinsics(700, 320, 240), Intrinsics(900, 330, 250)


@pytest.fixture(scope="module")
def classifier() -> MatchClassifier:
    return MatchClassifier.load()


def in_pixels(matches: Tensor) -> Tensor:
    first, second = CAMERAS
    focals = torch.tensor((first.focal, first.focal, second.focal, second.focal))
    return matches * focals + torch.tensor((first.x, first.y, second.x, second.y))


def test_the_shipped_network_finds_matches_and_poses(classifier: MatchClassifier) -> None:
    pairs = draw_pairs(SceneOptions(outlier_share=(0.6, 0.6)), 20, torch.Generator().manual_seed(77))
    errors, right = [], []
    for index, matches in enumerate(pairs.matches):
        views = classifier.two_views(in_pixels(matches), *CAMERAS)
        true = pairs.rotation[index][None].double(), pairs.translation[index][None].double()
        errors.append(pose_errors(views.rotation[None], views.translation[None], *true))
        right.append(((views.probabilities > 0.5) == pairs.correct[index]).float().mean().item())
    assert mean_average_precision(torch.cat(errors), 20) > 0.5
    assert np.mean(right) > 0.8


def test_the_fundamental_matrix_is_for_pixels(classifier: MatchClassifier) -> None:
    pairs = draw_pairs(SceneOptions(outlier_share=(0.5, 0.5)), 1, torch.Generator().manual_seed(78))
    matches = in_pixels(pairs.matches[0])
    views = classifier.two_views(matches, *CAMERAS)
    ones = torch.ones(len(matches), 1)
    first, second = torch.cat((matches[:, :2], ones), 1).double(), torch.cat((matches[:, 2:], ones), 1).double()
    lines = first @ views.fundamental.T
    apart = (second * lines).sum(1).abs() / lines[:, :2].norm(dim=1)
    assert apart[views.inliers].max() < 5
    assert views.inliers.sum() > 50
    calibrated = torch.linalg.inv(CAMERAS[1].matrix).T @ views.essential @ torch.linalg.inv(CAMERAS[0].matrix)
    torch.testing.assert_close(calibrated / calibrated.norm(), views.fundamental)


def test_the_estimate_forgives_wrong_weights() -> None:
    pairs = draw_pairs(SceneOptions(outlier_share=(0.5, 0.5), noise=(0.5, 0.5)), 10, torch.Generator().manual_seed(0))
    matches = pairs.matches.double()
    weights = pairs.correct | (torch.rand(pairs.correct.shape, generator=torch.Generator().manual_seed(1)) < 0.5)
    errors, plain, kept = [], [], []
    for pair, each, weight in zip(pairs.each(), matches, weights, strict=True):
        essential, last = estimate_essential(each, weight.double(), 1.5 * pair.pixel.item())
        true = pair.essential[0].double()
        errors.append(min((essential - true).norm(), (essential + true).norm()).item())
        naive = eight_point(each[None], weight[None].double())[0]
        plain.append(min((naive - true).norm(), (naive + true).norm()).item())
        kept.append((last[pair.correct[0]].mean() / last[weight & ~pair.correct[0]].mean()).item())
        assert torch.equal(estimate_essential(each, weight.double(), 1.5 * pair.pixel.item())[0], essential)
    assert np.median(errors) < 0.05
    assert np.median(kept) > 5
    assert np.median(plain) > 0.2


def test_too_few_matches(classifier: MatchClassifier) -> None:
    with pytest.raises(TooFewMatchesError, match="there are 3 putative matches, but at least 8 are needed"):
        classifier.two_views(torch.rand(3, 4), *CAMERAS)


def test_other_weights_are_refused() -> None:
    with pytest.raises(WeightsError, match="n3net are not those of a network that classifies matches"):
        MatchClassifier.load("n3net")


def test_guessed_cameras_look_through_the_middle() -> None:
    assert Intrinsics.guess(641, 481) == Intrinsics(1.2 * 641, 320, 240)
