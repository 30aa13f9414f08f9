"""The training losses."""

from torch import Tensor
from torch.nn import functional

from models.images.noise_map import channel_level, measured_map
from models.networks.noise_level_net import LEAST_VARIANCE, NoiseEstimate
from models.training.recipe import LossKind

LOSS_FLOOR = 1e-6  # a quarter of a gray level, squared; without it, log(MSE) would reward removing errors that nobody can see
SOFTENING = 1 / 20  # times sigma on the [0, 1] scale; about four times the MSE of a photograph after denoising
SEPARATION = 0.1
"""Weight of the separated noise in `noise_level_loss`."""


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


def noise_level_loss(estimate: NoiseEstimate, noise: Tensor) -> Tensor:
    """Return the loss of estimated noise levels, a scalar: the Huber loss of their logarithms, of cells and of whole pictures.

    The true levels are those of the noise itself, smoothed over neighboring cells. Errors count by their ratio, and a cell where
    texture hides the noise cannot outweigh the others. The mean level of a picture counts as much as its cells do together: an
    estimate that is right for most cells can still be too high on average, because the mean is one of variances.

    The noise of each pixel is a target too, with the loss of a denoiser up to a constant. It says far more than the levels do
    about what is noise and what is texture.

    Args:
        estimate: What the network returned.
        noise: The true noise, (B, 3, H, W).
    """
    truth = (measured_map(noise).square() + LEAST_VARIANCE).log()
    levels = _huber(estimate.log_variances, truth) + _huber(_of_pictures(estimate.log_variances), _of_pictures(truth))
    strength = noise.square().mean((1, 2, 3)).sqrt()
    error = (estimate.noise - noise).square().mean((1, 2, 3))
    return levels + SEPARATION * (error / (LOSS_FLOOR + SOFTENING * strength)).log1p().mean()


def _huber(log_variances: Tensor, truth: Tensor) -> Tensor:
    """Return the Huber loss of the logarithms of levels, which are half of those of variances."""
    return functional.huber_loss(log_variances / 2, truth / 2, delta=0.3)


def _of_pictures(log_variances: Tensor) -> Tensor:
    """Return the logarithm of the mean variance of a channel in each picture, (B,)."""
    levels = (log_variances / 2).exp().transpose(0, 1)  # (2, B, h, w)
    return channel_level(levels).square().mean((1, 2)).log()
