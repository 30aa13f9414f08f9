"""The training loss."""

from torch import Tensor

from models.training.recipe import LossKind

LOSS_FLOOR = 1e-6  # a quarter of a gray level, squared; without it, log(MSE) would reward removing errors that nobody can see
SOFTENING = 1 / 20  # times sigma on the [0, 1] scale; about four times the MSE of a photograph after denoising


def denoising_loss(kind: LossKind, denoised: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Return the loss of a batch, a scalar.

    Args:
        kind: The loss; see `Recipe.loss`.
        denoised: (B, C, S, S).
        clean: (B, C, S, S).
        sigma: (B, 1, 1, 1), noise levels on the [0, 1] scale.
    """
    mse = (denoised.float() - clean).square().mean((1, 2, 3))
    if kind == "mse":
        return mse.mean()
    floor = LOSS_FLOOR + SOFTENING * sigma.flatten() * (kind == "softened_log_mse")
    return (mse + floor).log().mean()
