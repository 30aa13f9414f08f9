"""The network on one image, strip by strip as a plan cuts it."""

from collections.abc import Generator
from typing import Protocol

from torch import Tensor

from models.inference.cut_plan import Plan, StripLayout
from models.inference.folding import FoldedBlock
from models.inference.noise_levels import NoiseLevels
from models.inference.row_stages import Stage
from models.inference.transfers import ImagePieces


class StreamedNetwork(Protocol):
    """A network in the form for inference."""

    @property
    def noise_planes(self) -> int:
        """Number of planes that tell it the noise level, as a second group of planes; 0 if it has none."""

    @property
    def factor(self) -> int:
        """Pixels of the output along each side of a pixel of the image: 1 unless the network enlarges."""

    @property
    def blocks(self) -> tuple[FoldedBlock, ...]:
        """Its N3 blocks, in the order in which an image passes through them."""

    def stage(self, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the network as a stage for one image, whose size is given at the network's finest level."""

    def block_stage(self, index: int, height: int, width: int, layout: StripLayout) -> Stage:
        """Return the part of the network that ends where an N3 block compares patches.

        It returns rows of the input x of the block, its embedding and its log-temperature, (1, 2 * C + 1, m, W), float32, at the
        network's finest level.
        """


def compute_strips(
    network: StreamedNetwork, image: ImagePieces, height: int, levels: NoiseLevels, plan: Plan, scale: int = 1
) -> Generator[float, None, None]:
    """Run a network on an image of a size that suits it. Run this in inference mode.

    Args:
        network: The network.
        image: Gives the noisy pixels and takes those of the output.
        height: Rows of the image at the network's finest level.
        levels: The noise level planes of the image.
        plan: How to cut the image, at the network's finest level.
        scale: Pixels of the image along each side of a pixel of that level.

    Yields:
        The fraction done after each part of a strip, rising to 1.
    """
    stages = [network.stage(height, panel.stop - panel.start, plan.layout(panel)) for panel in plan.panels]
    done, total = 0, sum(stage.pixels for stage in stages)
    enlarged = network.factor * scale
    for panel in plan.panels:
        stage, finished = stages.pop(0), 0  # pop: a finished stage releases its memory
        columns = slice(scale * panel.start, scale * panel.stop)
        for start in range(0, height, plan.rows):
            place = slice(scale * start, scale * min(start + plan.rows, height)), columns
            groups: tuple[Tensor, ...] = (image.take(*place),)
            if network.noise_planes:
                groups += (levels.take(*place),)
            feed = stage.feed(groups, last=start + plan.rows >= height)
            try:
                while True:
                    if pixels := next(feed):
                        done += pixels
                        yield done / total
            except StopIteration as end:
                (output,) = end.value
            kept = slice(enlarged * (panel.first - panel.start), enlarged * (panel.end - panel.start))
            image.give(output[..., kept], finished, enlarged * panel.first)
            finished += output.shape[2]
