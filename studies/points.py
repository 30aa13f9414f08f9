"""Points on a line for the studies of the neighbor selection, their hard neighbors, and the equations taken literally.

Letters: M queries, N points, K neighbors.
"""

import math
from typing import Literal

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from models.neighbors.selection import Relaxation, log_complement, neighbor_weights

K = 3
Kind = Literal["even", "normal"]


def draw(kind: Kind, number: int, noise: float = 0.1, seed: int = 0) -> Tensor:
    """Return N points: 0 ... N-1 plus normal noise ("even"), or sorted draws from a normal distribution ("normal")."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "normal":
        return torch.randn(number, generator=generator).sort().values
    return torch.arange(float(number)) + noise * torch.randn(number, generator=generator)


def some_queries(number: int, most: int) -> Tensor:
    """Return the indices of at most `most` of N points, evenly spaced."""
    return torch.linspace(0, number - 1, min(number, most)).round().long()


def distances(points: Tensor, queries: Tensor, squared: bool = False) -> Tensor:
    """Return |x_i - x_j| or its square, (M, N); a point has an infinite distance to itself."""
    apart = (points[queries, None] - points[None, :]).abs()
    apart = apart.square() if squared else apart
    return apart.scatter(1, queries[:, None], math.inf)


def hard_neighbors(points: Tensor, queries: Tensor, k: int = K) -> Tensor:
    """Return the values of the k nearest other points, (M, K), as found by scikit-learn."""
    values = points.numpy().astype(np.float64)[:, None]
    # Called without points, kneighbors leaves each point out of its own neighbors, even if there are duplicates.
    found = NearestNeighbors(n_neighbors=k).fit(values).kneighbors(return_distance=False)
    return points[torch.from_numpy(found)[queries]]


def soft_neighbors(points: Tensor, apart: Tensor, temperature: float, relaxation: Relaxation) -> tuple[Tensor, Tensor]:
    """Return the weights, (M, N, K), and the soft neighbors, (M, K)."""
    weights = neighbor_weights(apart[None], temperature, K, relaxation)[0]
    return weights, torch.einsum("mnk,n->mk", weights, points)


def exact_code(apart: Tensor, temperature: float) -> Tensor:
    """Return the weights, (M, N, K), of the code form evaluated exactly, without the saturation of float32."""
    logits = (-(apart - apart.amin(-1, keepdim=True)) / temperature).clamp_min(torch.finfo(apart.dtype).min / 4)
    weights = []
    for _ in range(K):
        logits = logits - logits.amax(-1, keepdim=True)
        weights.append(logits.softmax(-1))
        logits = logits + log_complement(logits)
    return torch.stack(weights, -1)


def as_written(apart: Tensor, temperature: float, relaxation: Relaxation) -> Tensor:
    """Return the weights, (M, N, K), by Eqs. 8-10 taken literally, without shifting the logits towards zero."""
    logits = -apart / temperature
    weights = []
    for _ in range(K):
        log_weights = logits - logits.logsumexp(-1, keepdim=True)
        weights.append(log_weights.exp())
        complement = torch.log1p(-log_weights.exp().clamp(max=1))
        logits = logits + (complement / temperature if relaxation == "paper" else complement)
    return torch.stack(weights, -1)


def neighborhood_range(neighbors: Tensor) -> float:
    """Return the mean over queries of the difference between the largest and the smallest neighbor."""
    return (neighbors.amax(1) - neighbors.amin(1)).mean().item()


def error(neighbors: Tensor, hard: Tensor) -> float:
    """Return the mean distance of the soft neighbors from the nearest hard neighbor of their query."""
    return (neighbors[:, :, None] - hard[:, None, :]).abs().amin(2).mean().item()
