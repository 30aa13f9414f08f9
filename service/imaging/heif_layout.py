"""How the picture in an AVIF or HEIC file is made of coded images."""

from dataclasses import dataclass

from service.errors import UndecodableImage, UnsupportedMode
from service.imaging.heif_container import Container, Item

CONFIGURATIONS = {b"av01": b"av1C", b"hvc1": b"hvcC"}
_TRANSFORMATIONS = {b"irot", b"imir", b"clap"}
_KNOWN = {*CONFIGURATIONS.values(), *_TRANSFORMATIONS, b"ispe", b"pixi", b"colr", b"auxC", b"pasp"}
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0")
_BITS = (8, 10, 12)
_MOST_TILES = 1024  # 200 megapixels in the tiles of phones, which have sides of 512 pixels
_ANY_PIXELS = 1 << 22  # tiles may extend beyond the picture, but if they are large, not by more than three times its size
_SHARED_BYTES = 1 << 24  # equal tiles may share their data
_DAMAGED = "The file is damaged or truncated."


@dataclass(frozen=True, slots=True)
class Layout:
    """How an image is made of tiles, each of which is coded on its own; an image that is coded as a whole has one tile.

    Attributes:
        width: Pixels per row.
        height: Rows.
        tiles: The tiles, row by row.
        columns: Tiles per row.
        tile_width: Pixels per row of a tile; the last tile of a row may extend beyond the image.
        tile_height: Rows of a tile.
        bits: Bits per sample.
        gray: Whether the samples are gray.
        colors: Contents of the properties that say how the samples code colors.
    """

    width: int
    height: int
    tiles: tuple[Item, ...]
    columns: int
    tile_width: int
    tile_height: int
    bits: int
    gray: bool
    colors: tuple[bytes, ...]


def read_layout(container: Container, item: Item) -> Layout:
    """Find out how an image is made.

    Raises:
        UnsupportedMode: If it is coded in a way that is not supported, or its tiles are too large.
        UndecodableImage: If what the file says about it is contradictory or missing.
    """
    width, height = _size(item)
    tiles, columns = [item], 1
    if item.kind == b"grid":
        content = container.content(item)
        bytes_of_side = 4 if content[1] & 1 else 2
        columns = content[3] + 1
        sides = [int.from_bytes(content[start : start + bytes_of_side], "big") for start in (4, 4 + bytes_of_side)]
        tiles = [container.items[identifier] for identifier in item.references.get(b"dimg", ())]
        if sides != [width, height] or len(tiles) != columns * (content[2] + 1):
            raise UndecodableImage(_DAMAGED)
    tile_width, tile_height = _size(tiles[0])
    _check_tiles(item, tiles)
    for length, size, count in (width, tile_width, columns), (height, tile_height, len(tiles) // columns):
        if not size * (count - 1) < length <= size * count:
            raise UndecodableImage(_DAMAGED)
    if len(tiles) > _MOST_TILES:
        raise UnsupportedMode(f"The limit is {_MOST_TILES} tiles in an AVIF or HEIC file.")
    if len(tiles) * tile_width * tile_height > max(_ANY_PIXELS, 4 * width * height):
        raise UnsupportedMode("The tiles of the file are too large.")
    if sum(tile.length for tile in tiles) > container.size + _SHARED_BYTES:
        raise UndecodableImage("The file is damaged: its tiles overlap.")
    bits, gray = _samples(tiles[0])
    return Layout(width, height, tuple(tiles), columns, tile_width, tile_height, bits, gray, _colors(item) or _colors(tiles[0]))


def find_alpha(container: Container) -> Item | None:
    """Return the alpha of the picture, or None.

    Raises:
        UnsupportedMode: If tiles have an alpha of their own.
    """
    tiles = {*container.items[container.primary].references.get(b"dimg", ())}
    found = None
    for item in container.items.values():
        if item.described(b"auxC")[4:].startswith(_ALPHA):
            owners = {*item.references.get(b"auxl", ())}
            if owners & tiles:
                raise UnsupportedMode("Send AVIF or HEIC whose alpha belongs to the picture, not to its tiles.")
            found = item if container.primary in owners else found
    return found


def _size(item: Item) -> tuple[int, int]:
    content = item.described(b"ispe")
    if len(content) < 12:
        raise UndecodableImage(_DAMAGED)
    return int.from_bytes(content[4:8], "big"), int.from_bytes(content[8:12], "big")


def _check_tiles(item: Item, tiles: list[Item]) -> None:
    first = tiles[0]
    if first.kind not in CONFIGURATIONS or any(tile.kind != first.kind for tile in tiles):
        raise UnsupportedMode("Send AVIF or HEIC that is coded with AV1 or HEVC, as a whole or in a grid of tiles.")
    for each in (item, *tiles):
        if not each.essential <= _KNOWN:
            raise UnsupportedMode("The file cannot be read without a feature that is not supported.")
        if each is not item and _TRANSFORMATIONS & {kind for kind, _ in each.properties}:
            raise UnsupportedMode("Send AVIF or HEIC whose tiles are not rotated, mirrored or cropped.")
    if any((_size(tile), _samples(tile)) != (_size(first), _samples(first)) for tile in tiles):
        raise UndecodableImage(_DAMAGED)


def _samples(tile: Item) -> tuple[int, bool]:
    """Return the bits per sample of a coded image, and whether it is gray."""
    content = tile.described(CONFIGURATIONS[tile.kind])
    if tile.kind == b"av01":
        bits = (8, 10, 12, 12)[(content[2] >> 6 & 1) + (content[2] >> 5 & 1)]
        gray = bool(content[2] & 16)
    else:
        bits, gray = 8 + (content[17] & 7), content[16] & 3 == 0
    if bits not in _BITS:
        raise UnsupportedMode("Send HEIC of 8, 10 or 12 bits.")
    return bits, gray


def _colors(item: Item) -> tuple[bytes, ...]:
    return tuple(content for kind, content in item.properties if kind == b"colr")
