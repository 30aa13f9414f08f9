"""A network that tells correct matches of two pictures from wrong ones, in the order of its papers.

It is the network of "Learning to Find Good Correspondences" (Yi et al. 2018) with N3 blocks in it, as in Section 5.3 of "Neural
Nearest Neighbors Networks" (Plötz & Roth 2018). The network sees the coordinates of matches and no picture.

Letters: B pairs of pictures, N matches of a pair, C features, K neighbors, V value features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.neighbors.selection import Relaxation
from models.neighbors.set_block import SetN3Block
from models.networks.stored_config import StoredConfig


@dataclass(frozen=True, kw_only=True)
class CorrespondenceConfig(StoredConfig):
    """The geometry of a `CorrespondenceNet`.

    Attributes:
        features: Features of a match between the layers, C.
        blocks: Number of residual blocks, each of two shared perceptrons.
        n3_blocks: Number of N3 blocks, evenly spaced among the residual blocks; 0 gives the network of Yi et al.
        k: Number of neighbors that an N3 block selects, K.
        embedding: Dimensions in which an N3 block measures distances, in addition to the four coordinates.
        values: Features that an N3 block averages, V, in addition to the four coordinates.
        relaxation: Form of the neighbor selection, see `models.neighbors.selection.neighbor_weights`.
    """

    features: int = 48
    blocks: int = 4
    n3_blocks: int = 1
    k: int = 5
    embedding: int = 8
    values: int = 16
    relaxation: Relaxation = "code"

    @property
    def channels(self) -> int:
        """Channels of the images: 0, because the network sees no image."""
        return 0

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        if self.relaxation not in ("paper", "code"):
            raise ValueError(f"unknown relaxation: {self.relaxation!r}")
        counts = (self.features, self.blocks, self.k, self.embedding, self.values)
        if not all(type(count) is int and count >= 1 for count in counts):
            raise ValueError("features, blocks, k, embedding and values must be positive integers")
        if type(self.n3_blocks) is not int or not 0 <= self.n3_blocks < self.blocks:
            raise ValueError("n3_blocks must be an integer from 0 to one less than the number of residual blocks")

    def build(self) -> "CorrespondenceNet":
        """Return a network of this geometry with fresh weights."""
        return CorrespondenceNet(self)


class SharedPerceptron(nn.Linear):
    """A linear layer that is applied to every match. On a CPU, this product takes half the time of a convolution."""

    def forward(self, matches: Tensor) -> Tensor:
        """Map features of matches, (B, C, N), to other features, (B, D, N)."""
        out = self.weight @ matches
        return out if self.bias is None else out + self.bias[:, None]


class ContextNormalization(nn.Module):
    """Normalize each feature over the matches of its pair, the only place where all matches meet; then scale and shift it.

    Yi et al. put a batch normalization behind it. Its input has mean 0 and variance 1 in every pair, so only its learned scale
    and shift have an effect.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, matches: Tensor) -> Tensor:
        """Map features of matches, (B, C, N), to such features."""
        return functional.group_norm(matches, len(self.weight), self.weight, self.bias)  # each feature is a group


class ResidualBlock(nn.Module):
    """Twice a shared perceptron with context normalization and ReLU, and a skip connection around both."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SharedPerceptron(features, features, bias=False),
            ContextNormalization(features),
            nn.ReLU(),
            SharedPerceptron(features, features, bias=False),
            ContextNormalization(features),
            nn.ReLU(),
        )

    def forward(self, matches: Tensor) -> Tensor:
        """Map features of matches, (B, C, N), to such features."""
        out: Tensor = matches + self.layers(matches)
        return out


class NeighborBlock(nn.Module):
    """An N3 block for sets, and a shared perceptron that joins what the K neighbors add to the features of a match."""

    def __init__(self, config: CorrespondenceConfig) -> None:
        super().__init__()
        self.block = SetN3Block(config.features, 4, config.embedding, config.values, config.k, config.relaxation)
        self.join = SharedPerceptron(config.k * (config.values + 4), config.features, bias=False)
        self.norm = ContextNormalization(config.features)

    def forward(self, features: Tensor, matches: Tensor) -> Tensor:
        """Map features of matches, (B, C, N), to such features, given the matches, (B, N, 4)."""
        neighbors = self.block(features.mT, matches)  # (B, N, K * (V + 4))
        return features + functional.relu(self.norm(self.join(neighbors.mT)))


class CorrespondenceNet(nn.Module):
    """Shared perceptrons with context normalization in residual blocks, and N3 blocks between these."""

    def __init__(self, config: CorrespondenceConfig) -> None:
        """Build the layers, with PyTorch's default initialization."""
        super().__init__()
        self.config = config
        self.first = SharedPerceptron(4, config.features)
        self.blocks = nn.ModuleList()
        before = {round(config.blocks * (index + 1) / (config.n3_blocks + 1)) for index in range(config.n3_blocks)}
        for index in range(config.blocks):
            if index in before:
                self.blocks.append(NeighborBlock(config))
            self.blocks.append(ResidualBlock(config.features))
        self.last = SharedPerceptron(config.features, 1)

    @property
    def smallest_set(self) -> int:
        """Number of matches that the network needs: eight for a matrix, and more than K for an N3 block."""
        return max(8, self.config.k + 1 if self.config.n3_blocks else 0)

    def forward(self, matches: Tensor) -> Tensor:
        """Classify matches.

        Args:
            matches: (x1, y1, x2, y2) of each match in calibrated coordinates, (B, N, 4), with N of at least `smallest_set`.

        Returns:
            (B, N), the logit of the probability that a match is correct.

        Raises:
            ValueError: If there are too few matches.
        """
        if matches.shape[1] < self.smallest_set:
            raise ValueError(f"the network needs at least {self.smallest_set} matches, but there are {matches.shape[1]}")
        features = self.first(matches.mT)
        for block in self.blocks:
            features = block(features, matches) if isinstance(block, NeighborBlock) else block(features)
        logits: Tensor = self.last(features)
        return logits.squeeze(1)
