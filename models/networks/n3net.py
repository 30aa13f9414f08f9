"""N3Net, the network of "Neural Nearest Neighbors Networks" (Plötz & Roth, NeurIPS 2018), in the order of the paper.

Letters: B batch, C planes, H x W pixels, h x w cells, p x q patches, K neighbors.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.neighbors.selection import CodeWeights, Relaxation, successive_weights
from models.networks.convolutions import Convolutions, convolution_dtype
from models.networks.patches import dense_aggregate, dense_distances, from_cells, to_cells, window_mask
from models.networks.stored_config import StoredConfig

LOG_TEMPERATURE_OFFSET = math.log(0.1)
"""Added to the log-temperature, so that a temperature network whose output is zero gives the temperature 0.1."""


@dataclass(frozen=True, kw_only=True)
class N3BlockConfig(StoredConfig):
    """The geometry of an N3 block. The configurations of the networks that contain such blocks extend it.

    Attributes:
        relaxation: Form of the neighbor selection, see `models.neighbors.selection.neighbor_weights`.
        k: Number of neighbors that a block selects.
        stride: Pixels from one patch to the next. A patch is two strides by two strides.
        window: Number of candidates of a query along each axis, in patches.
        planes: Input planes of a block.
        embedding: Planes inside the embedding and temperature networks.
        temperature_bound: The patch mean of the log-temperature is clamped to plus or minus this value; None means no bound.
        distance_eps: Added to the variance in the batch normalization of the distances.
    """

    relaxation: Relaxation = "code"
    k: int = 7
    stride: int = 5
    window: int = 15
    planes: int = 8
    embedding: int = 64
    temperature_bound: float | None = 4.0
    distance_eps: float = 1e-5

    @property
    def smallest_map(self) -> int:
        """Pixels that a map needs along each side so that every query has k candidates besides itself."""
        patches = math.isqrt(self.k) + 1
        return (patches + 1) * self.stride

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        if self.relaxation not in ("paper", "code"):
            raise ValueError(f"unknown relaxation: {self.relaxation!r}")
        counts = (self.k, self.stride, self.window, self.planes, self.embedding)
        if not all(type(count) is int and count >= 1 for count in counts) or self.window**2 <= self.k:
            raise ValueError(
                "k, stride, window, planes and embedding must be positive integers, and a window must hold k candidates"
            )


@dataclass(frozen=True, kw_only=True)
class N3NetConfig(N3BlockConfig):
    """The geometry of an N3Net. The defaults are the published values, plus a sigma plane and a temperature bound.

    Attributes:
        sigma_plane: Whether a second input plane holds sigma, so that one set of weights serves all noise levels.
        features: Planes inside a DnCNN.
        depth: Convolutions of a DnCNN.
        blocks: Number of N3 blocks. A DnCNN precedes each block, and another one follows the last; 0 gives a plain DnCNN.
    """

    sigma_plane: bool = True
    features: int = 64
    depth: int = 6
    blocks: int = 2

    @property
    def channels(self) -> int:
        """Channels of the images: gray ones only."""
        return 1

    @property
    def smallest_side(self) -> int:
        """Pixels that an image needs along each side."""
        return self.smallest_map if self.blocks else 1

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
        super().check()
        if type(self.features) is not int or self.features < 1:
            raise ValueError("features must be a positive integer")
        if type(self.depth) is not int or self.depth < 2 or type(self.blocks) is not int or self.blocks < 0:
            raise ValueError("depth must be an integer of at least 2, and blocks an integer of at least 0")

    def build(self) -> "N3Net":
        """Return a network of this geometry with fresh weights."""
        return N3Net(self)


class DnCNN(Convolutions):
    """A DnCNN (Zhang et al. 2017): 3x3 convolutions with batch normalization and ReLU, and a skip connection around them."""

    def __init__(self, in_planes: int, out_planes: int, features: int = 64, depth: int = 6, residual: int | None = None) -> None:
        """Build the layers.

        Args:
            in_planes: Planes of the input.
            out_planes: Planes of the output.
            features: Planes between the convolutions.
            depth: Number of convolutions, >= 2.
            residual: Number of leading input planes that are added to the leading output planes. By default as many as the
                input and the output both have.
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
    """Return the network that computes embeddings or log-temperatures: three 3x3 convolutions with normalization and ReLU."""
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
    """The neural nearest neighbors block (Section 4): it appends the K soft neighbors of every patch to the input as planes."""

    def __init__(self, config: N3BlockConfig) -> None:
        """Build the embedding and temperature networks."""
        super().__init__()
        self.config = config
        self.embed = embedding_net(config.planes, config.embedding, config.planes)
        self.temperature = embedding_net(config.planes, config.embedding, 1)
        self.distance_norm = nn.BatchNorm1d(1, eps=config.distance_eps)

    def forward(self, maps: Tensor) -> Tensor:
        """Map x, (B, C, H, W), to x, z_1 - x, ..., z_K - x, (B, C + K * C, H, W)."""
        config = self.config
        height, width = maps.shape[-2:]
        padding = (*grid_padding(width, config.stride), *grid_padding(height, config.stride))
        padded = functional.pad(maps, padding)
        embedded = functional.pad(self.embed(maps), padding)
        log_temperature = functional.pad(self.temperature(maps), padding)
        # Compute distances and weights at least in float32, even under autocast, because |a|^2 + |b|^2 - 2ab cancels.
        precise = torch.promote_types(maps.dtype, torch.float32)
        products = convolution_dtype(maps)
        with torch.autocast(maps.device.type, enabled=False):
            weights = self.neighbor_weights(embedded.to(precise), log_temperature.to(precise))  # (B, K, p, q, p, q)
            values = to_cells(padded, config.stride)  # (B, h, w, F)
            means = dense_aggregate(weights, values.to(products))  # (B, K, h, w, F)
            differences = from_cells((means - values.unsqueeze(1)).flatten(0, 1), config.stride)
        differences = differences.reshape(len(maps), -1, *padded.shape[-2:])  # (B, K * C, H', W')
        left, _, top, _ = padding
        return torch.cat((maps, differences[..., top : top + height, left : left + width].to(maps.dtype)), 1)

    def neighbor_weights(self, embedded: Tensor, log_temperature: Tensor) -> Tensor:
        """Return the weights of each patch over all patches, (B, K, p, q, p, q), zero outside its window and on itself."""
        config = self.config
        distances = dense_distances(to_cells(embedded, config.stride))  # (B, p, q, p, q)
        batch, p, q = distances.shape[:3]
        logits = self._normalized(-distances.reshape(batch, p, q, p * q))
        mean = functional.avg_pool2d(log_temperature, 2 * config.stride, config.stride)  # over each patch
        temperature = bounded_temperature(mean, config).view(batch, p, q, 1)
        mask = window_mask(p, q, config.window, distances.device).view(p, q, p * q)
        logits = (logits / temperature).masked_fill(~mask, -math.inf)
        if config.relaxation == "code" and logits.requires_grad:
            weights: Tensor = CodeWeights.apply(logits, config.k)  # type: ignore[no-untyped-call]
        else:
            weights = torch.stack(list(successive_weights(logits, temperature, config.k, config.relaxation)), 1)
        return weights.view(batch, config.k, p, q, p, q)

    def _normalized(self, values: Tensor) -> Tensor:
        """Return values (B, ...) after the normalization of the distances, which has one channel."""
        norm = self.distance_norm
        if norm.training:
            normalized: Tensor = norm(values.reshape(len(values), 1, -1)).view_as(values)
            return normalized
        # Its statistics are constants. On a GPU, the gradient of a normalization with a single channel is slow.
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return (values - norm.running_mean) * scale + norm.bias


class N3Net(nn.Module):
    """DnCNNs with N3 blocks between them. The published network is DnCNN · N3 · DnCNN · N3 · DnCNN."""

    def __init__(self, config: N3NetConfig) -> None:
        """Build the DnCNNs and the blocks, with PyTorch's default initialization."""
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
                    residual=1 if first else None,  # the skip connection carries the image but not sigma
                )
            )
        self.blocks = nn.ModuleList(N3Block(config) for _ in range(config.blocks))

    def forward(self, noisy: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Denoise a batch.

        Args:
            noisy: y, (B, 1, H, W), in [0, 1] before noise was added.
            sigma: (B, 1, 1, 1) or a scalar, on the [0, 1] scale. Networks without a sigma plane ignore it.

        Returns:
            The denoised images, (B, 1, H, W), not clipped.

        Raises:
            ValueError: If the network has a sigma plane and sigma is None.
        """
        height, width = noisy.shape[-2:]
        maps, top, left = reflect(noisy, self.config.smallest_side)
        if self.config.sigma_plane:
            if sigma is None:
                raise ValueError("this network needs the noise level: pass sigma")
            maps = torch.cat((maps, sigma.to(maps.dtype).expand_as(maps)), 1)
        for dncnn, block in zip(self.dncnns[:-1], self.blocks, strict=True):
            maps = block(dncnn(maps))
        denoised: Tensor = self.dncnns[-1](maps)
        return denoised[..., top : top + height, left : left + width]


def bounded_temperature(log_temperature: Tensor, config: N3BlockConfig) -> Tensor:
    """Return 0.1 exp(l) for the mean log-temperatures l of patches, clamped to plus or minus `config.temperature_bound`."""
    if config.temperature_bound is not None:
        log_temperature = log_temperature.clamp(-config.temperature_bound, config.temperature_bound)
    return (log_temperature + LOG_TEMPERATURE_OFFSET).exp()


def grid_padding(length: int, stride: int) -> tuple[int, int]:
    """Return how many zeros to add before and after so that patches two strides long, one stride apart, cover the length."""
    missing = max(2 * stride - length, 0) or -(length - 2 * stride) % stride
    return missing // 2, missing - missing // 2


def reflect(images: Tensor, smallest: int, multiple: int = 1) -> tuple[Tensor, int, int]:
    """Extend images (B, C, H, W) by reflection until both sides have at least `smallest` pixels and a multiple of `multiple`.

    The smallest size is reached by extending both ends of a side, the multiple by extending the bottom and the right. Images that
    are much smaller are reflected repeatedly.

    Returns:
        The extended images, and the number of rows added at the top and of columns added at the left.
    """
    offsets = []
    for axis in (-2, -1):
        length = images.shape[axis]
        before = max(0, smallest - length) // 2
        offsets.append(before)
        wanted = -(-max(length, smallest) // multiple) * multiple
        if length < wanted:
            period = max(1, 2 * length - 2)
            positions = (torch.arange(wanted, device=images.device) - before) % period
            images = images.index_select(axis, torch.minimum(positions, period - positions))
    return images, offsets[0], offsets[1]
