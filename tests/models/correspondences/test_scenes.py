"""Generated pairs of views: correct matches obey the geometry, and the shares are as asked for."""

import pytest
import torch

from models.correspondences.geometry import depths, eight_point, epipolar_distances, recover_pose
from models.correspondences.scenes import ASPECT, HALF_WIDTH, Pairs, SceneOptions, draw_pairs
from models.correspondences.scores import pose_errors

EXACT = SceneOptions(noise=(0, 0))


def draw(options: SceneOptions = EXACT, count: int = 40, seed: int = 0) -> Pairs:
    return draw_pairs(options, count, torch.Generator().manual_seed(seed))


def test_without_noise_correct_matches_are_exact() -> None:
    pairs = draw()
    matches, correct = pairs.matches.double(), pairs.correct
    assert (epipolar_distances(matches, pairs.essential.double()) / pairs.pixel[:, None])[correct].max() < 0.01
    far = depths(matches, pairs.rotation.double(), pairs.translation.double())
    assert (far[correct] > 0).all()
    turned = pairs.rotation @ pairs.rotation.mT
    torch.testing.assert_close(turned, torch.eye(3).expand_as(turned), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(pairs.rotation), torch.ones(40))
    torch.testing.assert_close(pairs.translation.norm(dim=1), torch.ones(40))


def test_the_pose_is_recovered_from_the_correct_matches() -> None:
    pairs = draw()
    weights = pairs.correct.double()
    essential = eight_point(pairs.matches.double(), weights)
    pose = recover_pose(essential, pairs.matches.double(), weights)
    errors = pose_errors(*pose, pairs.rotation.double(), pairs.translation.double())
    assert errors.median() < 0.01
    assert (errors < 1).float().mean() > 0.9  # with few planes, some pairs are nearly degenerate


def test_noise_has_the_given_strength() -> None:
    exact, noisy = draw(), draw(SceneOptions(noise=(2, 2)))
    apart = (noisy.matches - exact.matches) / exact.pixel[:, None, None]
    assert apart.std().item() == pytest.approx(2, rel=0.02)
    assert torch.equal(noisy.correct, exact.correct)


def test_the_share_of_wrong_matches() -> None:
    for share in (0.5, 0.9):
        wrong = 1 - draw(SceneOptions(outlier_share=(share, share))).correct.float().mean(1)
        assert wrong.median().item() == pytest.approx(share, abs=0.003)
        assert wrong.min() > share - 0.003
        assert wrong.max() < share + 0.1  # some pairs see too few points in both pictures
    spread = 1 - draw(count=200).correct.float().mean(1)
    assert 0.5 - 0.003 <= spread.min() < 0.55
    assert spread.max() > 0.85


def test_most_wrong_matches_are_far_from_their_lines() -> None:
    pairs = draw(SceneOptions())
    assert pairs.inliers(4.0)[pairs.correct].float().mean() > 0.95
    assert pairs.inliers(3.0)[~pairs.correct].float().mean() < 0.1


def test_everything_is_in_the_pictures() -> None:
    pairs = draw()
    field = HALF_WIDTH * pairs.pixel[:, None, None] * torch.tensor((1, ASPECT, 1, ASPECT))
    assert (pairs.matches.abs() <= field * 1.0001).all()


def test_repeated_structures_move_together() -> None:
    """Wrong matches that come from repeats have neighbors that move alike; random ones do not."""
    shares = []
    for repeated in (0.0, 1.0):
        pairs = draw(SceneOptions(outlier_share=(0.7, 0.7), repeated_share=(repeated, repeated), noise=(0, 0)))
        starts, moves = pairs.matches[..., :2], pairs.matches[..., 2:] - pairs.matches[..., :2]
        near = torch.cdist(starts, starts) < 20 * pairs.pixel[:, None, None]
        alike = torch.cdist(moves, moves) < 5 * pairs.pixel[:, None, None]
        wrong = ~pairs.correct[:, :, None] & ~pairs.correct[:, None, :] & ~torch.eye(pairs.correct.shape[1], dtype=torch.bool)
        shares.append((near & alike & wrong).sum().item() / (near & wrong).sum().item())
    assert shares[0] < 0.05
    assert shares[1] > 0.15


def test_the_seed_decides_everything() -> None:
    one, same, other = (draw(SceneOptions(), 3, seed) for seed in (5, 5, 6))
    assert torch.equal(one.matches, same.matches)
    assert not torch.equal(one.matches, other.matches)
