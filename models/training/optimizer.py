"""The optimizer: Muon for the weights of the convolutions and AdamW for everything else, or AdamW for all."""

from typing import Any

import torch
from torch import Tensor, nn

from models.training.muon import Muon
from models.training.recipe import OptimizerKind


class Optimizer:
    """Updates the parameters of a network.

    Muon makes the momentum of each weight matrix nearly orthogonal, so that a step changes a layer's output by the same amount
    in every direction. Its steps have the size of AdamW's, so one learning rate serves both. The weight of a convolution is
    treated as a matrix (C_out, C_in * 9). Weights with a single output plane, biases and normalizations are not matrices; AdamW
    updates them.
    """

    def __init__(self, network: nn.Module, weight_decay: float, kind: OptimizerKind = "muon") -> None:
        """Create the optimizers.

        Args:
            network: A network in channels-last format. It must stay on its device and in its memory format.
            weight_decay: Decoupled weight decay of the convolutions' weights.
            kind: "muon", or "adamw" for AdamW alone.
        """
        parameters = list(network.parameters())
        weights = [parameter for parameter in parameters if parameter.ndim > 1]
        self._weights = [weight for weight in weights if len(weight) > 1 and kind == "muon"]
        # Muon accepts matrices only. These share the memory of the weights.
        self._matrices = [nn.Parameter(as_matrix(weight.detach())) for weight in self._weights]
        # `step` sets the learning rates.
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        if self._matrices:
            self._optimizers["muon"] = Muon(self._matrices, weight_decay)
        groups = [
            {"params": [weight for weight in weights if len(weight) == 1 or kind == "adamw"], "weight_decay": weight_decay},
            {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimizers["adamw"] = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)

    def step(self, rate: float) -> None:
        """Update the parameters that have gradients, at a learning rate."""
        for matrix, weight in zip(self._matrices, self._weights, strict=True):
            matrix.grad = None if weight.grad is None else as_matrix(weight.grad)
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizers."""
        return {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state[name])


def as_matrix(weight: Tensor) -> Tensor:
    """View a weight as a matrix: that of a convolution, (C_out, C_in, 3, 3) in channels-last format, as (C_out, 9 * C_in)."""
    if weight.ndim < 4:
        return weight.flatten(1)
    return weight.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1)
