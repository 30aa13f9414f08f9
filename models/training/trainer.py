"""One training run's state: network, weight average, optimizer, generator; a step at a time, resumable to the step."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.machine import has_fast_bfloat16
from models.networks.config import NetworkConfig, store_config
from models.training.image_set import ImageSet
from models.training.optimizer import Optimizer
from models.training.recipe import Recipe


class TrainingError(RuntimeError):
    """A run that cannot go on."""


@dataclass(frozen=True)
class Step:
    """What a step did.

    Attributes:
        loss: Of its batch.
        gradient_norm: Before clipping.
        rate: Factor on the learning rates.
        skipped: Whether loss or gradient were not finite, so that nothing was learned.
    """

    loss: float
    gradient_norm: float
    rate: float
    skipped: bool


class Trainer:
    """Draws crops and noise, and learns.

    Attributes:
        config: The network's configuration.
        network: In training mode, channels last.
        average: Exponential moving average of the network's state dict; what is evaluated and exported.
        steps: Steps done, the skipped ones included.
        skipped: Steps skipped because something was not finite.
    """

    def __init__(
        self,
        images: ImageSet,
        config: NetworkConfig,
        recipe: Recipe,
        device: torch.device,
        start: dict[str, Tensor] | None = None,
        most_skipped: int = 20,
    ) -> None:
        """Prepare a run.

        Args:
            images: What to learn from.
            config: The network.
            recipe: The choices.
            device: Where to compute and to hold the images.
            start: A state dict to begin with; None: fresh weights drawn with the recipe's seed.
            most_skipped: Steps in a row that may be skipped before the run stops.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = config.build()
        if start is not None:
            network.load_state_dict(start)
        self.network = network.to(device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.freeze_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 (the base class has no other name)
                    module.eval()
        self.forward: Any = self.network
        self.config = config
        self.images, self.recipe, self.device = images.to(device), recipe, device
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" or has_fast_bfloat16())
        self.generator = torch.Generator(device).manual_seed(recipe.seed)
        self.average = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.optimizer = Optimizer(self.network, recipe.weight_decay, recipe.optimizer)
        self.steps = self.skipped = self.skipped_in_a_row = 0
        self.most_skipped = most_skipped

    def step(self, progress: float) -> Step:
        """Learn from one batch.

        Args:
            progress: How much of the schedule is done, 0 to 1.

        Raises:
            TrainingError: If too many steps in a row were not finite.
        """
        rate = self.recipe.rate(self.steps, progress)
        clean, noisy, sigma = self.recipe.draw_batch(self.images, self.generator)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        self.network.zero_grad()
        with self.autocast:
            denoised = self.forward(noisy, sigma)
        loss = self.recipe.measure(denoised, clean, sigma)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        value, size = torch.stack((loss.detach(), norm)).tolist()  # together: on a GPU each look waits for it
        done = Step(value, size, rate, skipped=not (math.isfinite(value) and math.isfinite(size)))
        self.steps += 1
        if done.skipped:
            self._skip()
        else:
            self.skipped_in_a_row = 0
            self.optimizer.step(self.recipe.learning_rate * rate)
            self._average()
        return done

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.steps) / (10 + self.steps))  # the first steps are not to weigh for ever
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)
            else:
                self.average[key].copy_(value)

    @torch.no_grad()
    def _skip(self) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        for key, buffer in self.network.named_buffers():  # the forward pass has already spoiled the running statistics
            buffer.copy_(self.average[key])
        if self.skipped_in_a_row > self.most_skipped:
            raise TrainingError(
                f"{self.skipped_in_a_row} steps in a row gave numbers that are not finite (step {self.steps}): "
                "take a lower learning rate, or go on from an earlier checkpoint"
            )

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as plain values and tensors."""
        return {
            "config": store_config(self.config),
            "recipe": self.recipe.asdict(),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "counts": (self.steps, self.skipped, self.skipped_in_a_row),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state; the configuration and recipe must be those of this trainer."""
        self.network.load_state_dict(state["network"])
        self.average = {key: value.to(self.device) for key, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.steps, self.skipped, self.skipped_in_a_row = state["counts"]
