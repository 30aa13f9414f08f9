"""N3Net, the network of "Neural Nearest Neighbors Networks" (Plötz & Roth, NeurIPS 2018), from the paper top to bottom.

Letters: B batch, C planes, H x W pixels, h x w cells, p x q patches, K neighbors.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.neighbors.selection import CodeWeights, Relaxation, successive_weights
from models.networks import cells
from models.networks.convolutions import Convolutions, convolution_dtype

LOG_TEMPERATURE_OFFSET = math.log(0.1)


@dataclass(frozen=True)
class N3BlockConfig:
    """What an N3 block is built from; `N3NetConfig` says what each value means."""

    relaxation: Relaxation
    k: int
    stride: int
    window: int
    planes: int
    embedding: int
    temperature_bound: float | None
    distance_eps: float

    def check(self) -> None:
        """Raise a ValueError if a value is of another type or out of range."""
        if self.relaxation not in ("paper", "code"):
            raise ValueError(f"unknown relaxation: {self.relaxation!r}")
        counts = (self.k, self.stride, self.window, self.planes, self.embedding)
        if not all(type(count) is int and count >= 1 for count in counts) or self.window**2 <= self.k:
            raise ValueError("the configuration's counts must be positive whole numbers, and a window must hold k candidates")


@dataclass(frozen=True)
class N3NetConfig:
    """The geometry of a network and what else its weights were trained for; the defaults are the published ones.

    Attributes:
        sigma_plane: Whether a second input plane holds the noise level (one set of weights for every sigma).
        relaxation: The form of the neighbor selection, see `models.neighbors.selection.neighbor_weights`.
        k: Neighbors an N3 block selects.
        stride: Pixels from patch to patch; a patch is two strides by two strides.
        window: Candidates of a query along each axis, counted in patches.
        features: Planes inside a DnCNN.
        depth: Convolutions of a DnCNN.
        planes: Planes between a DnCNN and the N3 block after it.
        embedding: Planes inside the embedding and temperature networks.
        blocks: N3 blocks, with a DnCNN before each and one at the end; 0 is a plain DnCNN.
        temperature_bound: The patch mean of the log-temperature is clamped to plus or minus this; None leaves it free.
        distance_eps: Added to the variance in the batch normalization of the distances.
    """

    sigma_plane: bool = True
    relaxation: Relaxation = "code"
    k: int = 7
    stride: int = 5
    window: int = 15
    features: int = 64
    depth: int = 6
    planes: int = 8
    embedding: int = 64
    blocks: int = 2
    temperature_bound: float | None = 4.0
    distance_eps: float = 1e-5

    @property
    def smallest_side(self) -> int:
        """Pixels an image needs along each side so that every query has k candidates besides itself."""
        patches = math.isqrt(self.k) + 1
        return (patches + 1) * self.stride if self.blocks else 1

    @property
    def block(self) -> N3BlockConfig:
        """The values that each N3 block takes."""
        return N3BlockConfig(
            self.relaxation,
            self.k,
            self.stride,
            self.window,
            self.planes,
            self.embedding,
            self.temperature_bound,
            self.distance_eps,
        )

    def asdict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a configuration from plain values.

        Raises:
            ValueError: If a value is unknown, of another type, or out of range.
        """
        fields = cls.__dataclass_fields__
        if unknown := sorted(set(values) - set(fields)):
            raise ValueError(f"unknown configuration values: {', '.join(unknown)}")
        config = cls(**values)
        config.block.check()
        if type(config.features) is not int or config.features < 1:
            raise ValueError("a network has at least one feature")
        if type(config.depth) is not int or config.depth < 2 or type(config.blocks) is not int or config.blocks < 0:
            raise ValueError("a network has at least 2 convolutions and no fewer than 0 blocks")
        return config

    def build(self) -> "N3Net":
        """Return a network of this geometry with fresh weights."""
        return N3Net(self)


class DnCNN(Convolutions):
    """Convolutions 3x3 with batch normalization between; the first input planes are added to the output (Zhang et al. 2017)."""

    def __init__(self, in_planes: int, out_planes: int, features: int = 64, depth: int = 6, residual: int | None = None) -> None:
        """Build the layers.

        Args:
            in_planes: Planes of the input.
            out_planes: Planes of the output.
            features: Planes in between.
            depth: Convolutions, >= 2.
            residual: How many first planes of the input are added to the output's; as many as both have unless told.
        """
        layers: list[nn.Module] = [nn.Conv2d(in_planes, features, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(features, features, 3, padding=1, bias=False), nn.BatchNorm2d(features), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(features, out_planes, 3, padding=1))
        self.residual = min(in_planes, out_planes) if residual is None else residual

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, in_planes, H, W) to (B, out_planes, H, W)."""
        out = super().forward(maps)
        missing = out.shape[1] - self.residual
        return out + functional.pad(maps[:, : self.residual], (0, 0, 0, 0, 0, missing))


def embedding_net(in_planes: int, features: int, out_planes: int) -> Convolutions:
    """Return the small network that both the patch embedding and the temperature use (three 3x3 convolutions)."""
    return Convolutions(
        nn.Conv2d(in_planes, features, 3, padding=1, bias=False),
        nn.BatchNorm2d(features),
        nn.ReLU(),
        nn.Conv2d(features, features, 3, padding=1, bias=False),
        nn.BatchNorm2d(features),
        nn.ReLU(),
        nn.Conv2d(features, out_planes, 3, padding=1),
    )


class N3Block(nn.Module):
    """The neural nearest neighbors block: soft neighbors of every patch, joined to the input as further planes (Section 4)."""

    def __init__(self, config: N3BlockConfig) -> None:
        """Build the embedding and temperature networks of the configuration."""
        super().__init__()
        self.config = config
        self.embed = embedding_net(config.planes, config.embedding, config.planes)
        self.temperature = embedding_net(config.planes, config.embedding, 1)
        self.distance_norm = nn.BatchNorm1d(1, eps=config.distance_eps)

    def forward(self, maps: Tensor) -> Tensor:
        """Map x (B, C, H, W) to (B, C + K * C, H, W): x, then z_1 - x ... z_K - x."""
        config = self.config
        height, width = maps.shape[-2:]
        padding = (*grid_padding(width, config.stride), *grid_padding(height, config.stride))
        padded = functional.pad(maps, padding)
        embedded = functional.pad(self.embed(maps), padding)
        log_temperature = functional.pad(self.temperature(maps), padding)
        # Distances and weights stay in float32 whatever the convolutions run in: |a|^2 + |b|^2 - 2ab cancels.
        precise = torch.promote_types(maps.dtype, torch.float32)
        products = convolution_dtype(maps)
        with torch.autocast(maps.device.type, enabled=False):
            weights = self.neighbor_weights(embedded.to(precise), log_temperature.to(precise))  # (B, K, p, q, p, q)
            values = cells.to_cells(padded, config.stride)  # (B, h, w, F)
            means = cells.dense_aggregate(weights, values.to(products))  # (B, K, h, w, F)
            differences = cells.from_cells((means - values.unsqueeze(1)).flatten(0, 1), config.stride)
        differences = differences.reshape(len(maps), -1, *padded.shape[-2:])  # (B, K * C, H', W')
        left, _, top, _ = padding
        return torch.cat((maps, differences[..., top : top + height, left : left + width].to(maps.dtype)), 1)

    def neighbor_weights(self, embedded: Tensor, log_temperature: Tensor) -> Tensor:
        """Return each patch's weights over all patches, (B, K, p, q, p, q), zero outside its window and on itself."""
        config = self.config
        distances = cells.dense_distances(cells.to_cells(embedded, config.stride))  # (B, p, q, p, q)
        batch, p, q = distances.shape[:3]
        logits = self.distance_norm(-distances.reshape(batch, 1, -1)).view(batch, p, q, p * q)
        mean = functional.avg_pool2d(log_temperature, 2 * config.stride, config.stride)  # over each patch
        temperature = bounded_temperature(mean, config).view(batch, p, q, 1)
        mask = cells.window_mask(p, q, config.window, distances.device).view(p, q, p * q)
        logits = (logits / temperature).masked_fill(~mask, -math.inf)
        if config.relaxation == "code" and logits.requires_grad:
            weights: Tensor = CodeWeights.apply(logits, config.k)  # type: ignore[no-untyped-call]
        else:
            weights = torch.stack(list(successive_weights(logits, temperature, config.k, config.relaxation)), 1)
        return weights.view(batch, config.k, p, q, p, q)


class N3Net(nn.Module):
    """DnCNNs with N3 blocks between them: DnCNN · N3 · DnCNN · N3 · DnCNN as published."""

    def __init__(self, config: N3NetConfig) -> None:
        """Build the networks of the configuration, with PyTorch's initialization."""
        super().__init__()
        self.config = config
        inputs = 2 if config.sigma_plane else 1
        joined = config.planes * (1 + config.k)
        self.dncnns = nn.ModuleList()
        for index in range(config.blocks + 1):
            first, last = index == 0, index == config.blocks
            self.dncnns.append(
                DnCNN(
                    inputs if first else joined,
                    1 if last else config.planes,
                    config.features,
                    config.depth,
                    residual=1 if first else None,  # only the image is added back, never the noise level
                )
            )
        self.blocks = nn.ModuleList(N3Block(config.block) for _ in range(config.blocks))

    def forward(self, noisy: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Denoise a batch.

        Args:
            noisy: y, (B, 1, H, W), in [0, 1] before noise was added.
            sigma: (B, 1, 1, 1) or a scalar, on the [0, 1] scale; needed by a network with a sigma plane, else not used.

        Returns:
            The denoised images, (B, 1, H, W), not clipped.

        Raises:
            ValueError: If a network with a sigma plane gets no sigma.
        """
        height, width = noisy.shape[-2:]
        maps, top, left = reflect(noisy, self.config.smallest_side)
        if self.config.sigma_plane:
            if sigma is None:
                raise ValueError("this network needs to be told the noise level")
            maps = torch.cat((maps, sigma.to(maps.dtype).expand_as(maps)), 1)
        for dncnn, block in zip(self.dncnns[:-1], self.blocks, strict=True):
            maps = block(dncnn(maps))
        denoised: Tensor = self.dncnns[-1](maps)
        return denoised[..., top : top + height, left : left + width]


def bounded_temperature(log_temperature: Tensor, config: N3BlockConfig) -> Tensor:
    """Return the temperature from a patch's mean log-temperature: bounded, plus ln 0.1, exponential."""
    if config.temperature_bound is not None:
        log_temperature = log_temperature.clamp(-config.temperature_bound, config.temperature_bound)
    return (log_temperature + LOG_TEMPERATURE_OFFSET).exp()


def grid_padding(length: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after so that patches of two strides at one stride cover the length."""
    missing = max(2 * stride - length, 0) or -(length - 2 * stride) % stride
    return missing // 2, missing - missing // 2


def reflect(images: Tensor, smallest: int) -> tuple[Tensor, int, int]:
    """Reflect images (B, C, H, W) at their borders, as often as it takes, until both sides have at least `smallest` pixels.

    Returns:
        The images, and how many rows were added at the top and columns at the left.
    """
    offsets = []
    for axis in (-2, -1):
        length = images.shape[axis]
        before = max(0, smallest - length) // 2
        offsets.append(before)
        if length < smallest:
            period = max(1, 2 * length - 2)
            positions = (torch.arange(smallest, device=images.device) - before) % period
            images = images.index_select(axis, torch.minimum(positions, period - positions))
    return images, offsets[0], offsets[1]
