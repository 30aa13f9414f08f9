"""The soft nearest neighbor loss, a measure of how entangled the classes of a batch are in a feature space.

The loss is Eq. 1 of Frosst, Papernot & Hinton 2019, "Analyzing and Improving Representations with the Soft Nearest Neighbor
Loss". The temperature schedule is that of Agarap & Azcarraga 2020, "Improving k-Means Clustering Performance with Disentangled
Internal Representations".

Letters: B samples of a batch, E features.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Distance = Literal["cosine", "euclidean"]


def pairwise_distances(features: Tensor, distance: Distance = "cosine") -> Tensor:
    """Return the distances (B, B) between all samples.

    Args:
        features: (B, ...), flattened to (B, E).
        distance: "cosine" is 1 - cos, in [0, 2]. "euclidean" is the squared Euclidean distance, as in Frosst et al.

    Raises:
        ValueError: If the distance is unknown.
    """
    features = features.flatten(1)
    if distance == "cosine":
        directions = nn.functional.normalize(features, eps=1e-8)
        return 1 - directions @ directions.T
    if distance == "euclidean":
        # Differences instead of products make the distance of duplicates exactly 0, and without a root its gradient is 0 too.
        return (features[:, None] - features[None, :]).square().sum(-1)
    raise ValueError(f'distance must be "cosine" or "euclidean", not {distance!r}')


def soft_nearest_neighbor_loss(
    features: Tensor, labels: Tensor, temperature: Tensor | float, distance: Distance = "cosine"
) -> Tensor:
    """Return the mean of -log P(a sample's soft nearest neighbor has its class), small where the classes are separated.

    A sample whose class occurs only once in the batch has no neighbor of its class. It does not contribute to the mean, but
    remains a wrong neighbor of the other samples. A batch in which no class occurs twice has loss 0.

    Args:
        features: (B, ...) of one layer, flattened to (B, E).
        labels: (B,), compared for equality.
        temperature: > 0, in the unit of the distance. It may be a tensor that is learned.
        distance: "cosine" or "euclidean" (squared).

    Returns:
        A scalar >= 0.

    Raises:
        ValueError: If the distance is unknown, or features and labels differ in number.
    """
    if features.shape[:1] != labels.shape:
        raise ValueError(f"{len(features)} feature vectors need as many labels, not shape {tuple(labels.shape)}")
    logits = -pairwise_distances(features, distance) / temperature
    oneself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    partners = (labels[:, None] == labels[None, :]) & ~oneself
    # Drop rows without a partner before the log-sum-exp, whose gradient is NaN where all entries are -inf.
    kept = partners.any(1)
    if not kept.any():
        return features.sum() * 0
    others = logits.masked_fill(oneself, -math.inf)[kept].logsumexp(1)
    alike = logits.masked_fill(~partners, -math.inf)[kept].logsumexp(1)
    return (others - alike).mean()


def layer_losses(layers: Sequence[Tensor], labels: Tensor, temperature: Tensor | float, distance: Distance = "cosine") -> Tensor:
    """Return the loss of each layer, shape (layers,). Their sum is the multi-layer loss.

    Raises:
        ValueError: If there is no layer, or for the same reasons as in `soft_nearest_neighbor_loss`.
    """
    if not layers:
        raise ValueError("the loss needs at least one layer")
    return torch.stack([soft_nearest_neighbor_loss(layer, labels, temperature, distance) for layer in layers])


def annealed_temperature(epoch: int, exponent: float = 0.55) -> float:
    """Return the temperature 1 / (1 + epoch) ** exponent, which falls from 1 toward 0 (Agarap & Azcarraga 2020).

    At first distant neighbors count too, later only close ones.

    Raises:
        ValueError: If the epoch is negative.
    """
    if epoch < 0:
        raise ValueError(f"the epoch must be at least 0, but is {epoch}")
    return float((1 + epoch) ** -exponent)


class LearnedTemperature(nn.Module):
    """A temperature that is learned. The parameter is its logarithm, so that it stays positive."""

    def __init__(self, initial: float = 1.0) -> None:
        super().__init__()
        if not initial > 0:
            raise ValueError(f"the temperature must be positive, but is {initial}")
        self.log_temperature = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        """Return the temperature, a scalar > 0."""
        return self.log_temperature.exp()
