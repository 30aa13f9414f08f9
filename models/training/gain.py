"""Whether the weights of a run denoise at all: a check on a few of its own training crops."""

import math

import torch
from torch import nn

from models.images.metrics import psnr
from models.images.resize import enlarge
from models.networks.noise_level_net import NoiseLevelNet
from models.training.sampling import draw_batch
from models.training.trainer import Trainer

_CROPS = 8
_SEED = 1  # any fixed seed; the generator of the run is not touched


@torch.no_grad()
def psnr_gain(trainer: Trainer, network: nn.Module) -> float:
    """Return by how many dB the averaged weights improve the PSNR of noisy training crops.

    Eight crops get white noise of the middle level of the recipe. For super-resolution, the crops are a batch as in training, and
    the result is compared with their bicubic enlargement. A negative gain means that the weights do harm, as after too few steps.
    The state of the run stays as it is. For a network that only estimates noise, the result is not a number.

    Args:
        trainer: The state of the run.
        network: A network of the same configuration, which gets the averaged weights.
    """
    if isinstance(network, NoiseLevelNet):
        return math.nan
    generator = torch.Generator(trainer.device).manual_seed(_SEED)
    network.load_state_dict(trainer.average)
    network.to(trainer.device).eval()
    if trainer.recipe.factors:
        batch = draw_batch(trainer.recipe, trainer.images, generator)
        enlarged, clean = enlarge(batch.noisy, batch.factor), batch.clean.cpu()
        return psnr(network(batch.noisy, batch.sigma, batch.factor).cpu(), clean) - psnr(enlarged.cpu(), clean)
    clean = trainer.images.crops(_CROPS, trainer.recipe.crop, generator)
    sigma = torch.full((_CROPS, 1, 1, 1), sum(trainer.recipe.sigma_range) / 2 / 255, device=trainer.device)
    noisy = clean + sigma * torch.randn(clean.shape, generator=generator, device=trainer.device)
    denoised = network(noisy, sigma)
    # White noise of sigma 0 has an infinite PSNR, which no denoiser improves.
    return psnr(denoised.cpu(), clean.cpu()) - psnr(noisy.cpu(), clean.cpu()) if sigma.any() else 0.0
