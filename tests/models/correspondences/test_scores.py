"""Pose errors in degrees, and the mean average precision over thresholds."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from models.correspondences.scores import mean_average_precision, pose_errors


def test_the_error_is_the_larger_angle() -> None:
    turns = [Rotation.from_euler("y", degrees, degrees=True).as_matrix() for degrees in (0.001, 7, 170)]
    rotations = torch.stack([torch.from_numpy(turn) for turn in turns])
    angles = torch.tensor([0.0, 12.0, 20.0], dtype=torch.float64).deg2rad()
    translations = torch.stack((angles.sin(), torch.zeros(3), angles.cos()), 1)
    straight = torch.eye(3, dtype=torch.float64).expand(3, 3, 3)
    ahead = torch.tensor([[0.0, 0, 1]], dtype=torch.float64).expand(3, 3)
    errors = pose_errors(rotations, translations, straight, ahead)
    torch.testing.assert_close(errors, torch.tensor([0.001, 12, 170], dtype=torch.float64))
    assert pose_errors(straight[:1], -ahead[:1], straight[:1], ahead[:1]).item() == pytest.approx(180)


def test_mean_average_precision_by_hand() -> None:
    errors = torch.tensor([1.0, 5.0, 7.0, 16.0, math.nan, math.inf, 90.0, 12.0])
    assert mean_average_precision(errors, 5) == pytest.approx(2 / 8)
    assert mean_average_precision(errors, 10) == pytest.approx((2 + 3) / 16)
    assert mean_average_precision(errors, 20) == pytest.approx((2 + 3 + 4 + 5) / 32)
    for bad in (0, 7):
        with pytest.raises(ValueError, match="multiple of 5"):
            mean_average_precision(errors, bad)
