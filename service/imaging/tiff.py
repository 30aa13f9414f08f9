"""TIFF with samples of 1, 8, 12 or 16 bits or 32-bit float, as gray, RGB, or any number of channels."""

import io
import logging
import math
import struct
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from service.errors import UndecodableImage, UnsupportedMode
from service.imaging.decode_errors import undecodable
from service.imaging.decoded import Decoded
from service.imaging.jpeg import read_structure
from service.imaging.metadata import directory_bytes, exif_of_tiff, profile_for, tiff_tags
from service.imaging.picture import Depth, Header, Picture
from service.imaging.tiff_directory import full_pages, with_first_page, with_only_page

# A damaged file deserves an answer, not endless lines in the log.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_DEPTHS: dict[tuple[str, int], Depth] = {
    ("bool", 1): "8",
    ("uint8", 8): "8",
    ("uint16", 12): "16",
    ("uint16", 16): "16",
    ("float32", 32): "float",
}
# CCITT (2 to 4) is left out: its decoders fill in what they cannot read, and report no damage.
_LOSSLESS, _JPEG = {1, 5, 8, 32773, 32946, 50000}, 7
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_STRAIGHT, _PREMULTIPLIED, _UNSPECIFIED = 2, 1, 0
_MOST_TILE_SAMPLES = 1 << 28
_ANY_TILE_SAMPLES = 1 << 22  # writers use one tile size for all images: this allows 1024 x 1024 RGBA for the smallest
_ANY_SAMPLES = 1 << 24  # of all tiles together
_LONG = 4
_APART = 2  # the planar configuration in which every channel has its own strips or tiles
# The entries that say how the pixels are stored. tifffile sees no others, because it reads the private ones of many makers.
_TAGS = frozenset(
    {*range(254, 260), 262, 266, 273, 274, *range(277, 280), 282, 283, 284, 296, 317, 320, *range(322, 326)}
    | {338, 339, 347, 530, 531, 532, 32997, 32998, 34675}
)


class TiffImage:
    """A TIFF file whose directory has been read.

    Attributes:
        header: The header.
    """

    def __init__(self, data: bytes) -> None:
        """Read the directory.

        Raises:
            UnsupportedMode: If there are several full pages, or samples that are not supported; the message says which ones are.
            UndecodableImage: If the directory cannot be read.
        """
        pages = full_pages(data)
        if not pages:
            raise UndecodableImage("The file has no page.")
        if len(pages) > 1:
            raise UnsupportedMode("Send a single page; multi-page images are not supported.")
        with undecodable():
            self._page = tifffile.TiffFile(io.BytesIO(with_only_page(data, pages[0], _TAGS))).pages[0]
            self.header = _header(self._page)
        self._data, self._directory = data, pages[0]

    def decode(self) -> Decoded:
        """Decode the samples: look up a palette, invert white-is-zero, and scale two levels to 8 bits and 12 bits to 16.

        Raises:
            UndecodableImage: If a strip or tile is damaged or missing.
            UnsupportedMode: If a strip or tile is a JPEG of another size, or with too many scans.
        """
        page, header = self._page, self.header
        with undecodable():
            _check_chunks(page, self._data)
            samples = page.asarray(maxworkers=1)
            if page.axes == "SYX":
                samples = samples.transpose(1, 2, 0)
            samples = samples.reshape(header.height, header.width, -1)
            if page.photometric == _PALETTE:
                samples = (page.colormap.reshape(3, 256).T[samples[..., 0]] >> 8).astype(
                    np.uint8
                )  # writers store v as v x 256 or v x 257
            if page.photometric == _WHITE_IS_ZERO:
                samples = 1 - samples if header.depth == "float" else ~samples
            info = {"icc_profile": page.tags.valueof(34675), "dpi": _resolution(page)}
            if samples.dtype == np.bool_:
                samples = samples * np.uint8(255)
            if page.bitspersample == 12:
                samples = samples << 4 | samples >> 8
        return Decoded(np.asarray(samples), exif_of_tiff(with_first_page(self._data, self._directory)), info)


def encode_tiff(samples: NDArray[Any], picture: Picture) -> bytes:
    """Encode a TIFF file, compressed by deflate, with its metadata.

    Args:
        samples: (H, W, C), alpha last if the picture has one.
        picture: Tells what the channels are and holds the metadata.
    """
    metadata = picture.metadata
    texts, directories = tiff_tags(metadata)
    # tifffile does not write these tags itself. Tags with a number one lower hold their places, in order, until the end.
    pointers = [(tag - 1, "I", 1, 0, True) for tag in directories]
    extra = [_UNSPECIFIED] * (0 if picture.rgb else picture.channels - 1) + [_STRAIGHT] * (picture.alpha is not None)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        samples if samples.shape[2] > 1 else samples[..., 0],
        photometric="rgb" if picture.rgb else "minisblack",
        planarconfig="contig" if samples.shape[2] > 1 else None,
        extrasamples=extra or None,
        compression="adobe_deflate",
        predictor=samples.dtype.kind == "u",
        iccprofile=profile_for(metadata, picture.channels) or None,
        resolution=metadata.dpi or (72, 72),
        resolutionunit="INCH" if metadata.dpi else "NONE",
        software=metadata.software or False,
        metadata=None,
        extratags=texts + pointers,
        byteorder="<",
        maxworkers=1,
    )
    return _appended(buffer.getvalue(), directories) if directories else buffer.getvalue()


def _appended(data: bytes, directories: dict[int, dict[int, Any]]) -> bytes:
    """Append directories to a file and make the reserved entries point to them."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        entries = {tag: file.pages[0].tags[tag - 1].offset for tag in directories}
    grown = bytearray(data)
    for tag, directory in directories.items():
        grown += bytes(len(grown) % 2)
        struct.pack_into("<HHII", grown, entries[tag], tag, _LONG, 1, len(grown))
        grown += directory_bytes(tag, directory, len(grown))
    return bytes(grown)


def _check_chunks(page: Any, data: bytes) -> None:
    """Check that every strip or tile is there, and that none unpacks to more than its place in the picture.

    Raises:
        UndecodableImage: If a strip or tile is missing.
        UnsupportedMode: If one is a JPEG of another size, or with too many scans.
    """
    chunks = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if (
        len(chunks) != math.prod(page.chunked)
        or any(offset == 0 or count == 0 or offset + count > len(data) for offset, count in chunks)
        or (page.compression == 1 and sum(count for _, count in chunks) < _stored_bytes(page))
    ):
        raise UndecodableImage("The file is damaged or truncated.")
    if page.compression != _JPEG:
        return
    if sum(count for _, count in chunks) > len(data):
        raise UndecodableImage("The file is damaged: its strips or tiles overlap.")
    height, width = page.chunks[-3:-1] if page.axes == "YXS" else page.chunks[-2:]
    tables = page.jpegtables
    if tables and read_structure(tables).components:
        raise UndecodableImage("The file is damaged or truncated.")
    for offset, count in chunks:
        inner = read_structure(data[offset : offset + count])
        if not inner.complete:
            raise UndecodableImage("The file is damaged or truncated.")
        if inner.width > width or inner.height > height or inner.components not in (1, page.samplesperpixel):
            raise UnsupportedMode("The strips or tiles of the file are larger than their places in the picture.")


def _stored_bytes(page: Any) -> int:
    """Return the bytes that the uncompressed strips or tiles of a page take; every row starts at a whole byte."""
    together, apart = (1, page.samplesperpixel) if page.planarconfig == _APART else (page.samplesperpixel, 1)
    width, rows = page.imagewidth, page.imagelength
    if page.is_tiled:
        width, rows = page.tilewidth, page.tilelength * math.prod(page.chunked) // apart
    return int(-(-width * together * page.bitspersample // 8) * rows * apart)


def _resolution(page: Any) -> tuple[float, float] | None:
    """Return the horizontal and vertical resolution in dots per inch, or None."""
    unit = {2: 1.0, 3: 2.54}.get(int(page.tags.valueof(296, default=2)), 0.0)
    parts = [page.tags.valueof(code, default=(0, 1)) for code in (282, 283)]
    dots = [unit * part[0] / part[1] if part[1] else 0.0 for part in parts]
    return (dots[0], dots[1]) if all(math.isfinite(value) and value > 0 for value in dots) else None


def _header(page: Any) -> Header:
    numbers = (page.imagewidth, page.imagelength, page.samplesperpixel, page.photometric, page.compression, page.planarconfig)
    if not all(isinstance(number, int) for number in numbers):  # a damaged tag holds anything
        raise UndecodableImage("The file is damaged or truncated.")
    depth = _DEPTHS.get((str(page.dtype), page.bitspersample if isinstance(page.bitspersample, int) else 0))
    if depth is None:
        raise UnsupportedMode("Send TIFF samples of 1, 8, 12 or 16 bits, unsigned, or of 32-bit float.")
    if page.axes not in ("YX", "YXS", "SYX") or not _is_read(page):
        raise UnsupportedMode(
            "Send TIFF uncompressed or compressed by LZW, deflate, PackBits, Zstandard or JPEG (8 bits). "
            "CCITT (fax) is not supported; save the picture with LZW instead."
        )
    extra = [int(kind) for kind in page.extrasamples]
    alpha = extra[-1:] in ([_STRAIGHT], [_PREMULTIPLIED])
    others = extra[:-1] if alpha else extra
    channels = page.samplesperpixel - alpha
    read = {
        _WHITE_IS_ZERO: channels == 1 and not alpha,
        _BLACK_IS_ZERO: channels > 0 and all(kind == _UNSPECIFIED for kind in others),
        _RGB: channels == 3,
        _PALETTE: channels == 1 and page.bitspersample == 8 and not alpha,
        _YCBCR: channels == 3 and not extra and page.compression == _JPEG,
    }
    if not read.get(int(page.photometric), False):
        raise UnsupportedMode("Send TIFF as gray, RGB, palette or plain channels, with alpha that is marked as alpha or none.")
    if page.is_tiled and (
        _tile_samples(page) > min(_MOST_TILE_SAMPLES, max(_ANY_TILE_SAMPLES, 4 * _samples(page)))
        or _tile_samples(page) * math.prod(page.chunked) > max(_ANY_SAMPLES, 4 * _samples(page))
    ):
        raise UnsupportedMode("The tiles of the file are too large.")
    channels = 3 if page.photometric == _PALETTE else channels
    rgb = page.photometric in (_RGB, _PALETTE, _YCBCR)
    premultiplied = alpha and extra[-1] == _PREMULTIPLIED
    return Header("tiff", page.imagewidth, page.imagelength, channels, depth, rgb, alpha, premultiplied)


def _is_read(page: Any) -> bool:
    """Tell whether the compression is one that is read here, for samples of this kind."""
    if page.bitspersample == 1 and page.samplesperpixel > 1:
        return False
    return page.compression in _LOSSLESS or (page.compression == _JPEG and page.bitspersample == 8)


def _tile_samples(page: Any) -> int:
    """Return the samples of one unpacked tile, however few of them the image needs."""
    return int(page.tilewidth * page.tilelength * page.tiledepth * page.samplesperpixel)


def _samples(page: Any) -> int:
    return int(page.imagewidth * page.imagelength * page.samplesperpixel)
