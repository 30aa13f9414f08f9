"""What cutting an image requires to know about a network: its memory per row and column, and how far a pixel has influence.

Rows and columns are those of the network's finest level: pixels of the image for an N3Net, and two pixels of the image wide and
high for an N3UNet or an UpscalingNet.
"""

from dataclasses import dataclass

from models.networks.config import NetworkConfig
from models.networks.n3net import N3BlockConfig, N3NetConfig
from models.networks.n3unet import BLOCKS_PER_LEVEL, SHUFFLE, N3UNetConfig
from models.networks.upscaling_net import FACTORS, UpscalingConfig

EMBEDDING_DEPTH = 3
"""Number of 3x3 convolutions in the embedding and temperature networks."""


@dataclass(frozen=True)
class Footprint:
    """The demands of a network.

    Attributes:
        block: The geometry of its N3 blocks.
        blocks: The number of its N3 blocks.
        scale: Pixels of the image along each side of a pixel of the finest level.
        multiple: The sides of an image, and the columns where panels are cut, must be multiples of this number of columns.
        smallest: Rows and columns that an image must have at least.
        reach: Number of columns over which a cut can influence the result.
        block_reaches: For each N3 block, the number of columns over which a cut can influence the embedding of its input.
        rows: Rows that a strip should have at least. With fewer, the coarsest level advances by a row or two, which is slow.
        row_bytes: Bytes per column for each row that is fed at a time.
        kept_bytes: Bytes per column that the layers outside the N3 blocks keep.
    """

    block: N3BlockConfig
    blocks: int
    scale: int
    multiple: int
    smallest: int
    reach: int
    block_reaches: tuple[int, ...]
    rows: int
    row_bytes: int
    kept_bytes: int


def footprint(config: NetworkConfig) -> Footprint:
    """Return the demands of a network."""
    if isinstance(config, N3NetConfig):
        return _n3net(config)
    assert isinstance(config, N3UNetConfig)
    return _n3unet(config)


def _n3net(config: N3NetConfig) -> Footprint:
    columns, block_reaches = config.depth, []
    for _ in range(config.blocks):
        block_reaches.append(columns + EMBEDDING_DEPTH)
        columns = _reach_of_block(config, block_reaches[-1]) + config.depth
    return Footprint(
        block=config,
        blocks=config.blocks,
        scale=1,
        multiple=1,
        smallest=config.smallest_side,
        reach=columns,
        block_reaches=(*block_reaches,),
        rows=1,
        row_bytes=4 * (3 * max(config.features, config.embedding) + 2 * config.planes * (1 + config.k)),
        kept_bytes=4 * 2 * ((config.blocks + 1) * (config.depth - 1) * config.features + config.blocks * 4 * config.embedding),
    )


def _n3unet(config: N3UNetConfig) -> Footprint:
    before, after = config.position in ("encoder", "both"), config.position in ("decoder", "both")
    convolutions = 2 * BLOCKS_PER_LEVEL  # of the residual blocks between two changes of the resolution
    columns, block_reaches = 1 + convolutions, []
    if before:
        block_reaches.append(columns + 1 + EMBEDDING_DEPTH)
        columns = _reach_of_block(config, block_reaches[-1]) + 1
    coarse = -(-columns // 2) + convolutions
    if config.levels == 3:
        coarse = 2 * (-(-coarse // 2) + convolutions)
    columns = 2 * (coarse + convolutions)
    delay = columns  # rows that the skip connections around the coarser levels hold
    if after:
        block_reaches.append(columns + 1 + EMBEDDING_DEPTH)
        columns = _reach_of_block(config, block_reaches[-1]) + 1
    blocks = before + after
    band = config.stride * (2 * config.window + 16)  # rows that the skip connection around an N3 block holds
    windows = 20 * (config.features + sum(config.widths))  # values that convolutions keep; two rows of the input of each
    held = delay * 2 * config.features + blocks * (band * (config.features + config.planes) + 8 * config.embedding)
    factor = max(FACTORS) if isinstance(config, UpscalingConfig) else 1
    images = SHUFFLE**2 * config.channels * (1 + 3 * factor**2)  # the input, and the output in three forms
    return Footprint(
        block=config,
        blocks=blocks,
        scale=SHUFFLE,
        multiple=config.multiple // SHUFFLE,
        smallest=config.smallest_side // SHUFFLE,
        reach=columns + convolutions + 1,
        block_reaches=(*block_reaches,),
        rows=4 << (config.levels - 1),
        row_bytes=4 * (4 * max(config.features, config.embedding) + 2 * config.planes * (1 + config.k) + images),
        kept_bytes=4 * (held + windows),
    )


def _reach_of_block(config: N3BlockConfig, embedded: int) -> int:
    """Return over how many columns a cut can influence the output of an N3 block.

    The cut changes the embedding of the input over `embedded` columns. It then changes all patches that contain a changed pixel,
    and all queries whose windows contain such a patch. They can be a whole window away, because the border of the image can shift
    a window towards the cut.
    """
    patches = embedded // config.stride + config.window  # changed patches, and the queries that can select them
    return (patches + 2) * config.stride
