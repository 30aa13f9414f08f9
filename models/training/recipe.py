"""How a network is trained: every choice in one value, stored with the checkpoint."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from models.training.image_set import ImageSet
from models.training.optimizer import Kind

Loss = Literal["softened_log_mse", "log_mse", "mse"]
LOSS_FLOOR = 1e-6  # a quarter of a gray level squared: below it an image is right, and log(MSE) would chase it for ever
SOFTENING = 1 / 20  # times sigma, on the [0, 1] scale: four times the MSE that is typical of photographs after denoising


@dataclass(frozen=True)
class Recipe:
    """The choices of a training run; the defaults are for weights that serve every noise level.

    Attributes:
        crop: Side of a training crop in pixels; 80 is 15 x 15 patches, a whole window.
        batch: Crops a step, repetitions counted.
        antithetic: Whether a step takes each crop twice, with the same noise of opposite signs: most of what noise adds to a
            gradient is odd in it and cancels.
        steps: Length of the schedule; None: it follows the time budget instead.
        sigma_range: Noise levels, 0-255 scale; equal bounds tune for one level.
        low_share: Share of the crops whose sigma lies in the lowest `low_part` of the range, which a uniform draw would starve.
        low_part: See `low_share`.
        optimizer: "muon", for the convolutions' weights and AdamW for the rest, or "adamw" for all.
        learning_rate: Of either, at its peak.
        weight_decay: Decoupled, of the convolutions' weights.
        warmup_steps: Steps of linear rise.
        decay_share: Share of the schedule, at its end, in which the rate falls to zero along half a cosine; before that it is
            constant. 1 falls from the beginning. 0 never falls, for a run that others go on from.
        freeze_statistics: Whether batch normalization keeps the running statistics it starts with, so that the network
            trained is the one used; for fine-tuning.
        loss: "softened_log_mse", log(MSE + sigma / 20), weighs the noise levels alike, and a squared error in a flat crop
            little more than one in a textured crop; "log_mse" weighs all crops alike; "mse" is the paper's, which the strong
            noise rules.
        clip: Largest gradient norm.
        ema: Decay of the weight average that is evaluated and exported.
        seed: Of crops, noise, and a fresh network's initialization.
    """

    crop: int = 80
    batch: int = 8
    antithetic: bool = True
    steps: int | None = None
    sigma_range: tuple[float, float] = (0.0, 75.0)
    low_share: float = 0.12
    low_part: float = 0.08
    optimizer: Kind = "muon"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    decay_share: float = 1.0
    freeze_statistics: bool = False
    loss: Loss = "softened_log_mse"
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If one is out of its range.
        """
        low, high = self.sigma_range
        if not (math.isfinite(high) and 0 <= low <= high):
            raise ValueError(f"the noise levels must be 0 <= low <= high, but are {low:g} and {high:g}")
        if self.optimizer not in ("muon", "adamw"):
            raise ValueError(f"the optimizer must be muon or adamw, not {self.optimizer!r}")
        if self.loss not in get_args(Loss):
            raise ValueError(f"the loss must be one of {', '.join(get_args(Loss))}, not {self.loss!r}")
        if min(self.crop, self.batch) < 1 or (self.steps is not None and self.steps < 1):
            raise ValueError("crop, batch and steps must be positive")
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"decay_share must lie between 0 and 1, but is {self.decay_share:g}")
        if not 0 <= self.ema < 1 or not 0 <= self.low_share < 1 or not 0 < self.low_part < 1:
            raise ValueError("the weight average's decay and the shares must lie between 0 and 1")

    def rate(self, step: int, progress: float) -> float:
        """Return the factor on the learning rates: a linear rise, then 1, then half a cosine down to zero at progress 1."""
        rise = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if not self.decay_share:
            return rise
        fallen = max(0.0, 1 - (1 - min(progress, 1.0)) / self.decay_share)
        return rise * 0.5 * (1 + math.cos(math.pi * fallen))

    def draw_batch(self, images: ImageSet, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a batch of B crops of side S.

        Args:
            images: Where they are cut from.
            generator: On the images' device.

        Returns:
            Clean crops (B, 1, S, S), noisy ones, and their noise levels (B, 1, 1, 1), all on the [0, 1] scale.

        Raises:
            ValueError: If an image is smaller than a crop.
        """
        count = (self.batch + 1) // 2 if self.antithetic else self.batch
        clean = images.crops(count, self.crop, generator)
        sigma = self.draw_sigma(count, generator)
        noise = sigma * torch.randn(clean.shape, generator=generator, device=generator.device)
        if self.antithetic:
            clean, sigma = (values.repeat(2, 1, 1, 1)[: self.batch] for values in (clean, sigma))
            noise = torch.cat((noise, -noise))[: self.batch]
        return clean, clean + noise, sigma

    def draw_sigma(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw noise levels, (count, 1, 1, 1), on the [0, 1] scale.

        One in each part of the distribution, so that no batch is all weak or all strong noise: the loss varies less.
        """
        device = generator.device
        place = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
        place = (place / count).clamp(max=1)
        lowest = place / self.low_share * self.low_part if self.low_share else place
        rest = self.low_part + (place - self.low_share) / (1 - self.low_share) * (1 - self.low_part)
        quantile = torch.where(place < self.low_share, lowest, rest if self.low_share else place)
        low, high = self.sigma_range
        return ((low + (high - low) * quantile) / 255).view(-1, 1, 1, 1)

    def measure(self, denoised: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
        """Return the loss of a batch (B, 1, S, S) with noise sigma (B, 1, 1, 1) on the [0, 1] scale, a scalar."""
        mse = (denoised.float() - clean).square().mean((1, 2, 3))
        if self.loss == "mse":
            return mse.mean()
        floor = LOSS_FLOOR + SOFTENING * sigma.flatten() * (self.loss == "softened_log_mse")
        return (mse + floor).log().mean()

    def asdict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a recipe of what `asdict` returned."""
        low, high = values["sigma_range"]
        return cls(**{**values, "sigma_range": (low, high)})
