"""The trainer: the state of a training run, advanced by one step at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from models.machine import has_fast_bfloat16
from models.networks.noise_level_net import NoiseLevelNet
from models.training.image_set import ImageSet
from models.training.objective import denoising_loss, noise_level_loss
from models.training.optimizer import Optimizer
from models.training.recipe import Recipe, RecipeError
from models.training.sampling import Batch, draw_batch
from models.training.schedule import rate_factor
from models.weights.files import load_weights

Network = TypeVar("Network", bound=nn.Module)


class TrainingError(RuntimeError):
    """Too many steps in a row had a loss or gradient that is not finite."""


@dataclass(frozen=True)
class Step:
    """Figures of one step.

    Attributes:
        loss: Loss of its batch.
        gradient_norm: Norm of the gradient before clipping.
        rate: Factor on the peak learning rate.
        skipped: Whether the loss or the gradient was not finite, so that the parameters were not updated.
    """

    loss: float
    gradient_norm: float
    rate: float
    skipped: bool


def fresh_network(build: Callable[[], Network], seed: int) -> Network:
    """Build a network with random weights that depend on the seed alone; PyTorch's global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _load_estimator(weights: str, device: torch.device) -> NoiseLevelNet:
    network = load_weights(weights).network()
    if not isinstance(network, NoiseLevelNet):
        raise RecipeError(f"the weights {weights} are not those of a network that estimates noise", "estimator")
    return network.to(device).eval()


class Trainer:
    """Trains a network on random crops with random noise, to denoise them, to enlarge them or to estimate the noise.

    Attributes:
        network: The network, in training mode, channels last, on the device.
        forward: The function that processes a batch: the network, or a compiled form of it.
        average: Exponential moving average of the network's state dict, which is evaluated and exported.
        steps: Number of steps done, including skipped ones.
        skipped: Number of steps skipped because the loss or the gradient was not finite.
    """

    def __init__(
        self, network: nn.Module, images: ImageSet, recipe: Recipe, device: torch.device, most_skipped: int = 20
    ) -> None:
        """Prepare the training.

        Args:
            network: The network to train, called as `NetworkConfig.build` says. It is moved to the device and changed in place.
            images: The training images. They are moved to the device.
            recipe: The configuration.
            device: The device to compute on.
            most_skipped: Number of steps in a row that may be skipped.
        """
        self.network = network.to(device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.freeze_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 (the base class has no other name)
                    module.eval()
        self.forward: Callable[..., Any] = self.network
        self.estimator = _load_estimator(recipe.estimator, device) if recipe.estimator else None
        self._estimates_noise = isinstance(network, NoiseLevelNet)
        self.images, self.recipe, self.device = images.to(device), recipe, device
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" or has_fast_bfloat16())
        self.generator = torch.Generator(device).manual_seed(recipe.seed)
        self.average = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.optimizer = Optimizer(self.network, recipe.weight_decay, recipe.optimizer)
        self.steps = self.skipped = self.skipped_in_a_row = 0
        self.most_skipped = most_skipped

    def compile(self) -> None:
        """Compile the network with `torch.compile`."""
        # On a GPU, launching the thousands of small kernels of a step takes most of the time; CUDA graphs avoid that.
        self.forward = torch.compile(self.network, mode="reduce-overhead" if self.device.type == "cuda" else None)

    def step(self, progress: float, batch: Batch | None = None) -> Step:
        """Learn from one batch.

        Args:
            progress: Share of the schedule that is done, 0 to 1.
            batch: The batch, on the device. None draws one as the recipe says.

        Raises:
            TrainingError: If more than `most_skipped` steps in a row had a loss or gradient that is not finite.
        """
        rate = rate_factor(self.recipe, self.steps, progress)
        if batch is None:
            with self.autocast:  # for the estimator
                batch = draw_batch(self.recipe, self.images, self.generator, self.estimator)
        noisy = batch.noisy.contiguous(memory_format=torch.channels_last)
        self.network.zero_grad()
        told: tuple[Tensor | int, ...] = (batch.sigma, batch.factor) if self.recipe.factors else (batch.sigma,)
        with self.autocast:
            output = self.forward(noisy) if self._estimates_noise else self.forward(noisy, *told)
        if self._estimates_noise:
            loss = noise_level_loss(output, batch.noise)
        else:
            loss = denoising_loss(self.recipe.loss, output, batch.clean, batch.level)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        value, size = torch.stack((loss.detach(), norm)).tolist()  # both at once, because each read waits for the GPU
        done = Step(value, size, rate, skipped=not (math.isfinite(value) and math.isfinite(size)))
        self.steps += 1
        if done.skipped:
            self._skip()
        else:
            self.skipped_in_a_row = 0
            self.optimizer.step(self.recipe.learning_rate * rate)
            self._update_average()
        return done

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(
            self.recipe.ema, (1 + self.steps) / (10 + self.steps)
        )  # a lower decay at first, to forget the initial weights
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
                f"{self.skipped_in_a_row} steps in a row had a loss or gradient that is not finite (step {self.steps}): "
                "use a lower learning rate, or continue from an earlier checkpoint"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as plain values and tensors."""
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "counts": (self.steps, self.skipped, self.skipped_in_a_row),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned for a trainer of the same network and recipe."""
        self.network.load_state_dict(state["network"])
        self.average = {key: value.to(self.device) for key, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.steps, self.skipped, self.skipped_in_a_row = state["counts"]
