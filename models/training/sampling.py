"""Random training batches: crops, noise levels and noise."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.images import resize
from models.images.noise_map import CELL, channel_level, enlarge, measured_map
from models.networks.noise_level_net import NoiseLevelNet
from models.training.image_set import ImageSet
from models.training.recipe import Recipe

LEAST_LEVEL = 1 / 255
"""Level that clean crops count as having. With 0, the logarithm in the loss would let them outweigh all others."""
EXACT_SHARE = 0.4
"""Share of the simulated photographs for which the network is told the exact noise level map."""
ESTIMATE_ERROR = 0.2
"""Standard deviation of the logarithm of the error of the others, if there is no network that estimates them."""
CLEAN_SHARE = 0.75
"""Share of the crops for super-resolution that have no noise."""
DETAIL_LEVEL = 0.03
"""Level that a crop for super-resolution counts as having for each unit of the factor, because enlarging leaves errors as noise
does."""
WIDER = 2
"""Side of the pictures whose noise is estimated, in sides of a training crop: more of a picture is known than a crop shows."""


class Batch(NamedTuple):
    """Training crops, on the [0, 1] scale.

    Attributes:
        clean: (B, C, S, S), or (B, C, factor * S, factor * S).
        noisy: (B, C, S, S).
        sigma: The noise level that the network is told: (B, 1, 1, 1) for white noise, or a map (B, 2, S, S).
        noise: What the noise is, (B, C, S, S): `noisy` minus the same picture without noise.
        factor: By how many times `clean` is larger than `noisy`.
    """

    clean: Tensor
    noisy: Tensor
    sigma: Tensor
    noise: Tensor
    factor: int = 1

    @property
    def level(self) -> Tensor:
        """The noise level of a channel in each crop, (B, 1, 1, 1), by which the loss is softened.

        It is at least `LEAST_LEVEL` for simulated photographs, and that of the missing detail for super-resolution.
        """
        if self.factor > 1:
            return self.sigma + self.factor * DETAIL_LEVEL
        if self.sigma.shape[1] == 1:
            return self.sigma
        return channel_level(self.sigma.transpose(0, 1)).mean((1, 2)).clamp(min=LEAST_LEVEL).view(-1, 1, 1, 1)


def draw_batch(recipe: Recipe, images: ImageSet, generator: torch.Generator, estimator: NoiseLevelNet | None = None) -> Batch:
    """Draw a batch of B = `recipe.batch` crops of side S = `recipe.crop`. For super-resolution, all have the same factor.

    Args:
        recipe: The configuration.
        images: The images to cut the crops from.
        generator: The source of randomness, on the images' device.
        estimator: For photographs, the network whose estimates the network to train is told; see `Recipe.estimator`.

    Raises:
        RecipeError: If an image is smaller than a crop.
    """
    if recipe.factors:
        return _super_resolution(recipe, images, generator)
    if recipe.noise == "white":
        return _white_noise(recipe, images, generator)
    return _photographs(recipe, images, generator, estimator)


def _white_noise(recipe: Recipe, images: ImageSet, generator: torch.Generator) -> Batch:
    """Draw crops with white noise, which is neither clipped nor rounded."""
    count = (recipe.batch + 1) // 2 if recipe.antithetic else recipe.batch
    clean = images.crops(count, recipe.crop, generator)
    sigma = draw_sigma(recipe, count, generator)
    noise = sigma * torch.randn(clean.shape, generator=generator, device=generator.device)
    if recipe.antithetic:
        clean, sigma = (values.repeat(2, 1, 1, 1)[: recipe.batch] for values in (clean, sigma))
        noise = torch.cat((noise, -noise))[: recipe.batch]
    return Batch(clean, clean + noise, sigma, noise)


def _super_resolution(recipe: Recipe, images: ImageSet, generator: torch.Generator) -> Batch:
    """Draw crops that are reduced by a random factor and rounded to 8 bits, as images are stored, before noise is added."""
    device, count = generator.device, recipe.batch
    factor = recipe.factors[int(torch.randint(len(recipe.factors), (), generator=generator, device=device))]
    clean = images.crops(count, factor * recipe.crop, generator)
    small = resize.shrink(clean, factor).mul(255).round().clamp(0, 255).div(255)
    noisy_share = torch.rand((count, 1, 1, 1), generator=generator, device=device) >= CLEAN_SHARE
    sigma = draw_sigma(recipe, count, generator) * noisy_share
    noise = sigma * torch.randn(small.shape, generator=generator, device=device)
    return Batch(clean, small + noise, sigma, noise, factor)


def _photographs(recipe: Recipe, images: ImageSet, generator: torch.Generator, estimator: NoiseLevelNet | None) -> Batch:
    """Draw simulated photographs. The map that the network is told is an estimate, or as inaccurate as one."""
    # Imported here, because training with white noise needs no SciPy.
    from models.training.photographs.degradation import TRAINING, degrade, source_side

    device = generator.device
    count, side = recipe.batch, recipe.crop * (WIDER if estimator else 1)
    sources = images.crops(count, source_side(side), generator).cpu().numpy()
    sigmas = draw_sigma(recipe, count, generator).flatten().tolist()
    seeds = torch.randint(2**63 - 1, (count,), generator=generator, device=device).tolist()
    made = [
        degrade(source, side, np.random.default_rng(seed), sigma, variety=TRAINING)
        for source, seed, sigma in zip(sources, seeds, sigmas, strict=True)
    ]
    clean, noisy, noise = (
        torch.from_numpy(np.stack([getattr(each, name) for each in made])).to(device) for name in ("clean", "noisy", "noise")
    )
    cells = measured_map(noise)
    # The level of white noise may be given by the user, and is then exact.
    told = torch.rand((count, 1, 1, 1), generator=generator, device=device) < EXACT_SHARE
    errors = ESTIMATE_ERROR * torch.randn((count, 2, 1, 1), generator=generator, device=device)
    cells = torch.where(told, cells, cells * errors.exp() if estimator is None else estimator.estimate(noisy))
    places = torch.randint((side - recipe.crop) // CELL + 1, (2,), generator=generator, device=device).tolist()
    rows, columns = (slice(CELL * place, CELL * place + recipe.crop) for place in places)
    clean, noisy, noise = (planes[..., rows, columns].contiguous() for planes in (clean, noisy, noise))
    return Batch(clean, noisy, enlarge(cells, rows, columns), noise)


def draw_sigma(recipe: Recipe, count: int, generator: torch.Generator) -> Tensor:
    """Draw noise levels, (count, 1, 1, 1), on the [0, 1] scale, by stratified sampling.

    The distribution is cut into `count` parts of equal probability, and each part gives one noise level. No batch then has only
    weak or only strong noise, so the loss varies less from step to step.
    """
    device = generator.device
    place = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
    place = (place / count).clamp(max=1)
    lowest = place / recipe.low_share * recipe.low_part if recipe.low_share else place
    rest = recipe.low_part + (place - recipe.low_share) / (1 - recipe.low_share) * (1 - recipe.low_part)
    quantile = torch.where(place < recipe.low_share, lowest, rest if recipe.low_share else place)
    low, high = recipe.sigma_range
    return ((low + (high - low) * quantile) / 255).view(-1, 1, 1, 1)
