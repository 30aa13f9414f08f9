"""How well poses are estimated: the error in degrees, and the mean average precision of Yi et al. (2018)."""

import math

import torch
from torch import Tensor

STEP = 5
"""Degrees between the thresholds that an average precision is the mean of."""
THRESHOLDS = (5, 10, 15, 20)
"""The thresholds of the tables, in degrees."""


def pose_errors(rotation: Tensor, translation: Tensor, true_rotation: Tensor, true_translation: Tensor) -> Tensor:
    """Return the error of poses in degrees: the larger one of two angles.

    The one is the angle of the rotation between the two rotations, the other is the angle between the two directions of
    translation. The length of a translation cannot be seen in two views.

    Args:
        rotation: Estimated rotations, (B, 3, 3).
        translation: Estimated translations, (B, 3), of length 1.
        true_rotation: (B, 3, 3).
        true_translation: (B, 3), of length 1.

    Returns:
        (B,), from 0 to 180.
    """
    # The arcsine of half the chord is exact for small angles, the arccosine of a product is not.
    turned = 2 * ((rotation - true_rotation).flatten(1).norm(dim=1) / math.sqrt(8)).clamp(max=1).asin()
    moved = 2 * ((translation - true_translation).norm(dim=1) / 2).clamp(max=1).asin()
    return torch.maximum(turned, moved).rad2deg()


def mean_average_precision(errors: Tensor, threshold: int) -> float:
    """Return the mean average precision of poses up to a threshold, from 0 to 1.

    It is the mean over the thresholds 5, 10, ... degrees, up to the given one, of the share of pairs whose error is not above
    the threshold. Up to 5 degrees, it is this share itself.

    Args:
        errors: Errors in degrees, (B,); NaN or infinity where there is no pose.
        threshold: A positive multiple of 5.

    Raises:
        ValueError: If the threshold is not such a multiple.
    """
    if threshold < STEP or threshold % STEP:
        raise ValueError(f"the threshold must be a positive multiple of {STEP} degrees, but is {threshold}")
    shares = [(errors <= degrees).double().mean().item() for degrees in range(STEP, threshold + 1, STEP)]
    return sum(shares) / len(shares)
