"""The N3 block for sets of points: features without a grid, in which every point may be a neighbor of every other one.

Letters: B batch, N points, C features, P coordinates, E embedding features, V value features, K neighbors.
"""

import math

import torch
from torch import Tensor, nn

from models.neighbors.selection import CodeWeights, Relaxation, select_neighbors, successive_weights

LOG_TEMPERATURE_OFFSET = math.log(0.1)
"""Added to the log-temperature, so that a temperature network whose output is zero gives the temperature 0.1."""
TEMPERATURE_BOUND = 4.0
"""The log-temperature, without the offset, is clamped to plus or minus this value."""
POSITION_SCALE = 5.0
"""Initial factor of the coordinates, which suits points in a range of about 1."""


class SetN3Block(nn.Module):
    """The neural nearest neighbors block (Plötz & Roth 2018, Section 4) for sets of points with positions.

    Shared perceptrons compute an embedding, a temperature and a value of each point. The scaled coordinates of the point are part
    of its embedding and of its value. The block returns what the K soft neighbors of a point, in the space of the embeddings, add
    to the value of the point itself: z_1 - x, ..., z_K - x. A point is not a candidate of itself. The result for a point does not
    depend on the order of the points.

    A new block has an embedding of zero apart from the coordinates, so it begins with the nearest neighbors in space, and
    learns what else makes points alike.
    """

    def __init__(
        self,
        features: int,
        coordinates: int,
        embedding: int,
        values: int,
        k: int,
        relaxation: Relaxation = "code",
        chunk: int = 1 << 20,
    ) -> None:
        """Build the shared perceptrons.

        Args:
            features: C, features of a point.
            coordinates: P, coordinates of a point.
            embedding: E, dimensions in which distances are measured in addition to the coordinates.
            values: V, features that are averaged in addition to the coordinates.
            k: Number of neighbors; a set has more points than this.
            relaxation: As in `models.neighbors.selection.neighbor_weights`.
            chunk: Number of distances in memory at a time when there are no gradients.
        """
        super().__init__()
        self.k, self.relaxation, self.chunk = k, relaxation, chunk
        last = nn.Linear(features, embedding, bias=False)
        nn.init.zeros_(last.weight)
        self.embed = nn.Sequential(nn.Linear(features, features), nn.ReLU(), last)
        self.temperature = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, 1))
        self.value = nn.Linear(features, values)
        self.scale = nn.Parameter(torch.full((coordinates,), POSITION_SCALE))

    def forward(self, points: Tensor, positions: Tensor) -> Tensor:
        """Return the differences of the neighbors of each point.

        With gradients, the distances of all points of all sets are computed at once. Without them, `select_neighbors` does it in
        chunks, so that the memory is bounded.

        Args:
            points: The features of sets of points, (B, N, C).
            positions: Their coordinates, (B, N, P).

        Returns:
            (B, N, K * (V + P)).

        Raises:
            ValueError: If a set has no more than K points.
        """
        if points.shape[1] <= self.k:
            raise ValueError(f"a set needs more than {self.k} points, but has {points.shape[1]}")
        scaled = self.scale * positions
        embedded, values = torch.cat((self.embed(points), scaled), -1), torch.cat((self.value(points), scaled), -1)
        bounded = self.temperature(points).clamp(-TEMPERATURE_BOUND, TEMPERATURE_BOUND)
        temperature = (bounded + LOG_TEMPERATURE_OFFSET).exp()  # (B, N, 1)
        if torch.is_grad_enabled():
            neighbors = self._weights(embedded, temperature) @ values.unsqueeze(1)  # (B, K, N, V + P)
            differences = (neighbors - values.unsqueeze(1)).transpose(1, 2)
        else:
            each = zip(embedded, values, temperature, strict=True)
            selected = [select_neighbors(e, e, v, t, self.k, self.relaxation, self.chunk, others=True) for e, v, t in each]
            neighbors = torch.stack(selected)
            differences = neighbors - values.unsqueeze(2)  # (B, N, K, V + P)
        flat: Tensor = differences.flatten(2)
        return flat

    def _weights(self, embedded: Tensor, temperature: Tensor) -> Tensor:
        """Return the weights of all points for the neighbors of each point, (B, K, N, N)."""
        squares = embedded.square().sum(-1)
        distances = torch.baddbmm(squares.unsqueeze(1), embedded, embedded.mT, alpha=-2) + squares.unsqueeze(2)
        own = torch.eye(embedded.shape[1], dtype=torch.bool, device=embedded.device)
        logits = (-distances / temperature).masked_fill(own, -math.inf)
        if self.relaxation == "code":
            weights: Tensor = CodeWeights.apply(logits, self.k)  # type: ignore[no-untyped-call]
            return weights
        return torch.stack(list(successive_weights(logits, temperature, self.k, self.relaxation)), 1)
