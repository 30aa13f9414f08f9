"""The configuration of a training run, in one value that is stored with every checkpoint and weights file."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from models.images.noise_map import CELL

LossKind = Literal["softened_log_mse", "log_mse", "mse"]
NoiseKind = Literal["white", "photographs"]
OptimizerKind = Literal["muon", "adamw"]


class RecipeError(ValueError):
    """Choices that do not fit each other, the images or the run folder.

    Attributes:
        names: The choices concerned: parameters of `Recipe`, of `TrainingOptions` or of `models.training.run.train`.
    """

    def __init__(self, message: str, *names: str) -> None:
        super().__init__(message)
        self.names = names


@dataclass(frozen=True)
class Recipe:
    """The choices that determine what a training run learns. The defaults train one set of weights for every noise level.

    Attributes:
        crop: Side of a training crop in pixels. 80 pixels are 15 x 15 patches, a whole search window.
        batch: Number of crops in a step, with repetitions counted.
        antithetic: For white noise: whether a step uses each crop twice, with the same noise added and subtracted. Most of the
            noise's effect on a gradient is odd in the noise and cancels. Other training ignores it.
        steps: Length of the schedule; None makes the schedule follow the time budget.
        noise: "white" adds white noise, whose sigma the network is told; "photographs" simulates photographs
            (`models.training.photographs`) and tells the network a noise level map.
        estimator: Weights, by name or path, of a network that estimates noise. The network to train is then told these estimates
            for a part of the simulated photographs, and learns how far to trust them; None tells it maps with random errors.
        factors: Factors of super-resolution to train for; empty trains to denoise. A crop is then one of the small image.
        sigma_range: Lowest and highest noise level on the 0-255 scale. Equal bounds train for one level.
        low_share: Share of the crops that get a sigma from the lowest part of the range, which a uniform draw would neglect.
        low_part: Size of that lowest part, as a share of the range.
        optimizer: "muon" uses Muon for the weights of the convolutions and AdamW for everything else; "adamw" uses AdamW for all.
        learning_rate: Peak learning rate of either optimizer.
        weight_decay: Decoupled weight decay of the convolutions' weights.
        warmup_steps: Number of steps in which the learning rate rises linearly to its peak.
        decay_share: Share of the schedule, at its end, in which the learning rate falls to zero along half a cosine; before
            that it is constant. 1 lets it fall from the beginning. 0 keeps it constant, for a run that other runs continue.
        freeze_statistics: Whether batch normalization keeps the running statistics that it starts with, so that training and
            inference use the same function. For fine-tuning.
        loss: "softened_log_mse" is log(MSE + sigma / 20). It weights all noise levels alike, and does not let flat crops, which
            have a small error, outweigh textured ones. "log_mse" weights all crops alike. "mse" is the paper's loss, which
            strong noise dominates.
        clip: Largest norm of the gradient; longer gradients are scaled down to it.
        ema: Decay of the exponential moving average of the weights, which is evaluated and exported.
        seed: Seed of the crops, the noise, and the weights of a fresh network.
    """

    crop: int = 80
    batch: int = 8
    antithetic: bool = True
    steps: int | None = None
    noise: NoiseKind = "white"
    estimator: str | None = None
    factors: tuple[int, ...] = ()
    sigma_range: tuple[float, float] = (0.0, 75.0)
    low_share: float = 0.12
    low_part: float = 0.08
    optimizer: OptimizerKind = "muon"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    decay_share: float = 1.0
    freeze_statistics: bool = False
    loss: LossKind = "softened_log_mse"
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate the values.

        Raises:
            RecipeError: If a value is out of its range.
        """
        low, high = self.sigma_range
        if not (math.isfinite(high) and 0 <= low <= high):
            raise RecipeError(f"the noise levels must be 0 <= low <= high, but are {low:g} and {high:g}", "sigma_range")
        if self.noise not in get_args(NoiseKind):
            raise RecipeError(f"the noise must be one of {', '.join(get_args(NoiseKind))}, not {self.noise!r}", "noise")
        if self.noise == "photographs" and self.crop % CELL:
            raise RecipeError(f"crops of photographs must be multiples of {CELL} px, not {self.crop}", "crop")
        if self.factors and (self.noise != "white" or min(self.factors) < 2):
            raise RecipeError("super-resolution is trained with white noise and factors of at least 2", "noise", "factors")
        if self.optimizer not in get_args(OptimizerKind):
            kinds = ", ".join(get_args(OptimizerKind))
            raise RecipeError(f"the optimizer must be one of {kinds}, not {self.optimizer!r}", "optimizer")
        if self.loss not in get_args(LossKind):
            raise RecipeError(f"the loss must be one of {', '.join(get_args(LossKind))}, not {self.loss!r}", "loss")
        if min(self.crop, self.batch) < 1 or (self.steps is not None and self.steps < 1):
            raise RecipeError("crop, batch and steps must be positive", "crop", "batch", "steps")
        if not 0 <= self.decay_share <= 1:
            raise RecipeError(f"decay_share must lie between 0 and 1, but is {self.decay_share:g}", "decay_share")
        if not 0 <= self.ema < 1:
            raise RecipeError(f"the decay of the average must be at least 0 and less than 1, but is {self.ema:g}", "ema")
        if not 0 <= self.low_share < 1 or not 0 < self.low_part < 1:
            raise RecipeError("low_share and low_part must lie between 0 and 1", "low_share", "low_part")

    def asdict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a recipe from what `asdict` returned, also after a trip through JSON."""
        low, high = values["sigma_range"]
        return cls(**{**values, "sigma_range": (low, high), "factors": tuple(values.get("factors", ()))})
