"""Muon (Jordan et al. 2024), for many small matrices: those of equal size are updated at once, in a precision that is fast.

`torch.optim.Muon` updates them one by one, in bfloat16. On a GPU, launching its kernels takes longer than they run; on a CPU
without bfloat16 instructions, it takes most of the time of a training step.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from models.machine import has_fast_bfloat16

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic polynomial that is applied to the singular values. Five times bring values from 0.01 to 1 near 1."""
ITERATIONS = 5
LEAST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Updates matrices by orthogonal steps of the size of AdamW's (Liu et al. 2025), with Nesterov momentum.

    The state is that of `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], weight_decay: float) -> None:
        """Create the optimizer of matrices, with decoupled weight decay. Set the learning rate, "lr", before each step."""
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the matrices that have gradients."""
        assert closure is None
        for group in self.param_groups:
            alike: dict[tuple[torch.Size, torch.device], list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape, matrix.device].append(matrix)
            for matrices in alike.values():
                self._update(matrices, group["lr"], group["weight_decay"])

    def _update(self, matrices: list[nn.Parameter], rate: float, weight_decay: float) -> None:
        directions = []
        for matrix in matrices:
            assert matrix.grad is not None  # `step` chose them
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
            momentum = self.state[matrix]["momentum_buffer"].lerp_(matrix.grad, 1 - MOMENTUM)
            directions.append(matrix.grad.lerp(momentum, MOMENTUM))
        size = rate * 0.2 * max(matrices[0].shape) ** 0.5
        for matrix, step in zip(matrices, orthogonalized(torch.stack(directions)).to(matrices[0]), strict=True):
            matrix.mul_(1 - rate * weight_decay).sub_(step, alpha=size)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Return the nearest matrices with singular values near 1, (N, A, B), by Newton-Schulz iterations in a fast data type."""
    fast = matrices.device.type == "cuda" or has_fast_bfloat16()
    near = matrices.bfloat16() if fast else matrices.float()
    tall = near.shape[1] > near.shape[2]
    near = near.mT if tall else near
    near = near / near.norm(dim=(1, 2), keepdim=True).clamp(min=LEAST_NORM)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = near @ near.mT
        near = torch.baddbmm(near, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), near, beta=a)
    return near.mT if tall else near
