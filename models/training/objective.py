"""The training losses."""

from torch import Tensor
from torch.nn import functional

from models.images.noise_map import measured_map
from models.networks.noise_level_net import LEAST_VARIANCE
from models.training.recipe import LossKind

LOSS_FLOOR = 1e-6  # a quarter of a gray level, squared; without it, log(MSE) would reward removing errors that nobody can see
SOFTENING = 1 / 20  # times sigma on the [0, 1] scale; about four times the MSE of a photograph after denoising


def denoising_loss(kind: LossKind, denoised: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Return the loss of a batch of denoised crops, a scalar.

    Args:
        kind: The loss; see `Recipe.loss`.
        denoised: (B, C, S, S).
        clean: (B, C, S, S).
        sigma: (B, 1, 1, 1), noise levels of a channel on the [0, 1] scale.
    """
    mse = (denoised.float() - clean).square().mean((1, 2, 3))
    if kind == "mse":
        return mse.mean()
    floor = LOSS_FLOOR + SOFTENING * sigma.flatten() * (kind == "softened_log_mse")
    return (mse + floor).log().mean()


def noise_level_loss(log_variances: Tensor, noise: Tensor) -> Tensor:
    """Return the loss of estimated noise levels, a scalar: the Huber loss of their logarithms.

    The true levels are those of the noise itself, smoothed over neighboring cells. Errors count by their ratio, and a cell where
    texture hides the noise cannot outweigh the others.

    Args:
        log_variances: Logarithm of the variances, (B, 2, h, w), see `NoiseLevelNet`.
        noise: The true noise, (B, 3, H, W).
    """
    truth = (measured_map(noise).square() + LEAST_VARIANCE).log()
    return functional.huber_loss(log_variances / 2, truth / 2, delta=0.3)
