"""The network on one image, strip by strip as a plan cuts it."""

from collections.abc import Generator

import torch

from models.inference.cut_plan import Plan
from models.inference.folding import FoldedNetwork
from models.inference.stream import NetworkStage
from models.inference.transfers import ImagePieces


def denoise_strips(
    network: FoldedNetwork, image: ImagePieces, height: int, sigma: float, plan: Plan
) -> Generator[float, None, None]:
    """Denoise an image of at least the network's smallest size. Run this in inference mode.

    Args:
        network: The network.
        image: Gives the noisy pixels and takes the denoised ones.
        height: Rows of the image.
        sigma: Noise standard deviation on the [0, 1] scale.
        plan: How to cut the image.

    Yields:
        The fraction done after each part of a strip, rising to 1.
    """
    stages = [NetworkStage(network, height, panel.stop - panel.start, plan.layout(panel)) for panel in plan.panels]
    done, total = 0, sum(stage.pixels for stage in stages)
    for panel in plan.panels:
        stage, finished = stages.pop(0), 0  # pop: a finished stage releases its memory
        for start in range(0, height, plan.rows):
            rows = image.take(slice(start, start + plan.rows), slice(panel.start, panel.stop))
            groups = (rows, torch.full_like(rows, sigma)) if network.config.sigma_plane else (rows,)
            feed = stage.feed(groups, last=start + plan.rows >= height)
            try:
                while True:
                    done += next(feed)
                    yield done / total
            except StopIteration as end:
                (denoised,) = end.value
            image.give(denoised[:, :, :, panel.first - panel.start : panel.end - panel.start], finished, panel.first)
            finished += denoised.shape[2]
