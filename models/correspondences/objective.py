"""The losses of "Learning to Find Good Correspondences" (Yi et al. 2018, Section 4.2).

Letters: B pairs of views, N matches.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.correspondences.geometry import eight_point


def match_weights(logits: Tensor) -> Tensor:
    """Return the weights of matches in the eight-point algorithm, tanh(ReLU(logit)), (B, N): 0 for those taken to be wrong."""
    return functional.relu(logits).tanh()


def classification_loss(logits: Tensor, correct: Tensor) -> Tensor:
    """Return the binary cross-entropy in which the correct and the wrong matches of a pair have the same weight altogether.

    Args:
        logits: (B, N).
        correct: The classes, (B, N).
    """
    losses = functional.binary_cross_entropy_with_logits(logits, correct.to(logits), reduction="none")
    means = [(losses * chosen).sum(1) / chosen.sum(1).clamp_min(1) for chosen in (correct, ~correct)]
    return (means[0] + means[1]).mean() / 2


def regression_loss(logits: Tensor, matches: Tensor, essential: Tensor) -> Tensor:
    """Return the mean squared distance of the estimated essential matrices from the true ones; the sign of both is arbitrary.

    Args:
        logits: (B, N), which give the weights of the matches.
        matches: (B, N, 4).
        essential: (B, 3, 3), with Frobenius norm 1.
    """
    estimated = eight_point(matches, match_weights(logits))
    apart, opposite = ((estimated + sign * essential).square().sum((1, 2)) for sign in (-1, 1))
    return torch.minimum(apart, opposite).mean()
