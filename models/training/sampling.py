"""Random training batches: crops, noise levels and noise."""

from typing import NamedTuple

import torch
from torch import Tensor

from models.training.image_set import ImageSet
from models.training.recipe import Recipe


class Batch(NamedTuple):
    """Training crops, on the [0, 1] scale.

    Attributes:
        clean: (B, C, S, S).
        noisy: (B, C, S, S), neither clipped nor rounded.
        sigma: (B, 1, 1, 1), the standard deviation of the noise in each crop.
    """

    clean: Tensor
    noisy: Tensor
    sigma: Tensor


def draw_batch(recipe: Recipe, images: ImageSet, generator: torch.Generator) -> Batch:
    """Draw a batch of B = `recipe.batch` crops of side S = `recipe.crop`.

    Args:
        recipe: The configuration.
        images: The images to cut the crops from.
        generator: The source of randomness, on the images' device.

    Raises:
        RecipeError: If an image is smaller than a crop.
    """
    count = (recipe.batch + 1) // 2 if recipe.antithetic else recipe.batch
    clean = images.crops(count, recipe.crop, generator)
    sigma = draw_sigma(recipe, count, generator)
    noise = sigma * torch.randn(clean.shape, generator=generator, device=generator.device)
    if recipe.antithetic:
        clean, sigma = (values.repeat(2, 1, 1, 1)[: recipe.batch] for values in (clean, sigma))
        noise = torch.cat((noise, -noise))[: recipe.batch]
    return Batch(clean, clean + noise, sigma)


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
