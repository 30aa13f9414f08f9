"""TIFF with samples of 8 bits, 16 bits or 32-bit float, as gray, RGB, or any number of channels."""

import io
import logging
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from service.errors import UndecodableImage, UnsupportedMode
from service.imaging.decode_errors import undecodable
from service.imaging.metadata import Exif, directory_bytes, exif_of_tiff, profile_for, tiff_tags
from service.imaging.picture import Depth, Header, Picture

# A damaged file deserves an answer, not endless lines in the log.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

# Codecs that are told beforehand how many bytes to return; a JPEG inside a TIFF, for example, could unpack to any size.
_COMPRESSIONS = {1, 5, 8, 32773, 32946, 50000}
_DEPTHS: dict[tuple[str, int], Depth] = {("uint8", 8): "8", ("uint16", 16): "16", ("float32", 32): "float"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_STRAIGHT, _UNSPECIFIED = 2, 0
_MOST_TILE_SAMPLES = 1 << 28
_ANY_TILE_SAMPLES = 1 << 22  # writers use one tile size for all images: this allows 1024 x 1024 RGBA for the smallest
_LONG = 4


class TiffImage:
    """A TIFF file whose directory has been read.

    Attributes:
        header: The header.
    """

    def __init__(self, data: bytes) -> None:
        """Read the directory.

        Raises:
            UnsupportedMode: If there are several pages, or samples that are not supported; the message says which ones are.
            UndecodableImage: If the directory cannot be read.
        """
        with undecodable():
            self._page = _only_page(tifffile.TiffFile(io.BytesIO(data)))
            self.header = _header(self._page)
        self._data = data

    def decode(self) -> tuple[NDArray[Any], Exif, Mapping[Any, Any]]:
        """Decode the samples: look up a palette, and invert white-is-zero.

        Returns:
            Samples (H, W, C) in their own type, alpha last; EXIF; the color profile and the resolution by Pillow's names.

        Raises:
            UndecodableImage: If a strip is damaged or missing.
        """
        page, header = self._page, self.header
        with undecodable():
            if any(
                offset == 0 or count == 0 or offset + count > len(self._data)
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ):
                raise UndecodableImage("The file is damaged or truncated.")
            samples = page.asarray(maxworkers=1)
            if page.axes == "SYX":
                samples = samples.transpose(1, 2, 0)
            samples = samples.reshape(header.height, header.width, -1)
            if page.photometric == _PALETTE:
                samples = (page.colormap.T[samples[..., 0]] >> 8).astype(np.uint8)  # writers store v as v x 256 or v x 257
            if page.photometric == _WHITE_IS_ZERO:
                samples = 1 - samples if header.depth == "float" else ~samples
            info = {"icc_profile": page.tags.valueof(34675), "dpi": _resolution(page)}
        return np.asarray(samples), exif_of_tiff(self._data), info


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


def _only_page(file: Any) -> Any:
    try:
        file.pages[1]
    except IndexError:
        return file.pages[0]
    raise UnsupportedMode("Send a single page; multi-page images are not supported.")


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
        raise UnsupportedMode("Send TIFF samples of 8 or 16 bits, unsigned, or of 32-bit float.")
    if page.axes not in ("YX", "YXS", "SYX") or page.compression not in _COMPRESSIONS:
        raise UnsupportedMode("Send TIFF uncompressed or compressed by LZW, deflate, PackBits or Zstandard.")
    extra = [int(kind) for kind in page.extrasamples]
    straight = extra[-1:] == [_STRAIGHT]
    others = extra[:-1] if straight else extra
    channels = page.samplesperpixel - straight
    read = {
        _WHITE_IS_ZERO: channels == 1,
        _BLACK_IS_ZERO: channels > 0 and all(kind == _UNSPECIFIED for kind in others),
        _RGB: channels == 3,
        _PALETTE: channels == 1 and depth == "8" and not straight,
    }
    if not read.get(int(page.photometric), False):
        raise UnsupportedMode("Send TIFF as gray, RGB, palette or plain channels, with straight alpha or none.")
    if page.is_tiled and _tile_samples(page) > min(_MOST_TILE_SAMPLES, max(_ANY_TILE_SAMPLES, 4 * _samples(page))):
        raise UnsupportedMode("The tiles of the file are too large.")
    channels = 3 if page.photometric == _PALETTE else channels
    return Header("tiff", page.imagewidth, page.imagelength, channels, depth, page.photometric in (_RGB, _PALETTE), straight)


def _tile_samples(page: Any) -> int:
    """Return the samples of one unpacked tile, however few of them the image needs."""
    return int(page.tilewidth * page.tilelength * page.tiledepth * page.samplesperpixel)


def _samples(page: Any) -> int:
    return int(page.imagewidth * page.imagelength * page.samplesperpixel)
