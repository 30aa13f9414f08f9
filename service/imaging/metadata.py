"""Metadata beside the pixels: EXIF rebuilt tag by tag, ICC profile, resolution, and the name of the software.

EXIF is never passed on unchanged. The tags that describe the picture are copied into a new block, because orientation and size
change, the thumbnail shows the noisy picture, and a maker note holds offsets that become wrong.
"""

import math
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from service.imaging.decode_errors import DAMAGE
from service.imaging.picture import Metadata

# A damaged EXIF block deserves no lines on the terminal or in the log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

Exif = Image.Exif
Keep = Literal["no-gps", "keep", "strip"]

# Tags of the first directory that describe the picture. All other tags there describe how a file stores it.
DESCRIPTIVE = {
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Copyright,
    Base.Rating,
    Base.XPTitle,
    Base.XPComment,
    Base.XPAuthor,
    Base.XPKeywords,
    Base.XPSubject,
}
_MAKER_NOTE, _INTEROP, _WIDTH, _HEIGHT = 0x927C, 0xA005, 0xA002, 0xA003
_HEAD = b"II*\0\x08\0\0\0"  # a little-endian TIFF structure whose first directory follows immediately
_LONGEST_EXIF = 65000  # a JPEG segment holds 65533 bytes
_SPACES = {1: b"GRAY", 3: b"RGB "}


def read_metadata(exif: Exif, info: Mapping[Any, Any], width: int, height: int) -> tuple[Metadata, int]:
    """Collect the metadata of a file.

    Args:
        exif: The EXIF block of the file.
        info: Further entries of the file by Pillow's names: `icc_profile`, `dpi`.
        width: Pixels per row as stored.
        height: Rows as stored.

    Returns:
        The metadata, with orientation 1, and the orientation that must be applied to the pixels (1 to 8).
    """
    turn = _entry(exif, Base.Orientation)
    turn = turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    base = _description(exif)
    inner = _directory(exif, IFD.Exif)
    for tag, size in zip((_WIDTH, _HEIGHT), (height, width) if turn > 4 else (width, height), strict=True):
        if tag in inner:
            inner[tag] = size
    icc = info.get("icc_profile")
    return Metadata(
        exif=_assemble(base, inner, _directory(exif, IFD.GPSInfo)),
        icc=icc if isinstance(icc, bytes) else b"",
        dpi=_resolution(info.get("dpi")),
    ), turn


def exif_of_tiff(data: bytes) -> Exif:
    """Return the first directory of a TIFF file as EXIF; an EXIF block has the structure of a TIFF file."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except DAMAGE:
        return Image.Exif()
    return exif


def resized(metadata: Metadata, width: int, height: int) -> Metadata:
    """Return the metadata of a picture that has got another size: EXIF that states the size states the new one."""
    base, inner, place = _parts(metadata.exif)
    inner |= {tag: size for tag, size in ((_WIDTH, width), (_HEIGHT, height)) if tag in inner}
    return replace(metadata, exif=_assemble(base, inner, place))


def software_text(version: str, model: str, sigma: float, weights_sha256: str | None, factor: int = 1) -> str:
    """Return the text for the Software entry; a method without weights has no hash."""
    enlarged = f" factor={factor}" if factor > 1 else ""
    text = f"n3denoise {version} model={model}{enlarged} sigma={sigma:.4g}"
    return f"{text} weights=sha256:{weights_sha256}" if weights_sha256 else text


def prepared(metadata: Metadata, keep: Keep, software: str) -> Metadata:
    """Return the metadata to write.

    Args:
        metadata: The metadata of the input.
        keep: "no-gps" drops the GPS data, "keep" also keeps the GPS data, "strip" removes all metadata.
        software: Text of the Software entry, written unless everything is stripped.
    """
    if keep == "strip":
        return Metadata()
    base, inner, place = _parts(metadata.exif)
    base[Base.Software] = software
    return replace(metadata, exif=_assemble(base, inner, place if keep == "keep" else {}), software=software)


def profile_for(metadata: Metadata, channels: int) -> bytes:
    """Return the ICC profile, or nothing if it is for another number of channels, as a color profile is for a gray picture."""
    return metadata.icc if metadata.icc[16:20] == _SPACES.get(channels) else b""


def exif_block(metadata: Metadata) -> bytes:
    """Return the EXIF block with its prefix, or nothing if there is none."""
    return b"Exif\0\0" + metadata.exif if metadata.exif else b""


def tiff_tags(metadata: Metadata) -> tuple[list[tuple[int, str, int, Any, bool]], dict[int, dict[int, Any]]]:
    """Return EXIF as tags for a TIFF writer: the text tags of the first directory, and the directories below it."""
    base, inner, place = _parts(metadata.exif)
    texts = [(tag, "s", 0, value, True) for tag, value in base.items() if isinstance(value, str) and tag != Base.Software]
    return texts, {tag: directory for tag, directory in ((int(IFD.Exif), inner), (int(IFD.GPSInfo), place)) if directory}


def directory_bytes(tag: int | None, directory: dict[int, Any], offset: int) -> bytes:
    """Return the bytes of the directory below a tag, or of the first one, at an offset of a little-endian TIFF file."""
    written = ImageFileDirectory_v2(_HEAD, group=tag)
    for entry, value in directory.items():
        written[entry] = value
    return bytes(written.tobytes(offset))


def _parts(block: bytes) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    exif = Image.Exif()
    exif.load(block)
    return _description(exif), _directory(exif, IFD.Exif), _directory(exif, IFD.GPSInfo)


def _entry(exif: Exif, tag: int) -> Any:
    try:
        return exif.get(tag)
    except DAMAGE:  # Pillow reads the entry only now
        return None


def _description(exif: Exif) -> dict[int, Any]:
    entries = {int(tag): _entry(exif, tag) for tag in sorted(DESCRIPTIVE)}
    return {tag: value for tag, value in entries.items() if value is not None}


def _directory(exif: Exif, tag: IFD) -> dict[int, Any]:
    try:
        entries = dict(exif.get_ifd(tag))
    except DAMAGE:
        return {}
    return {entry: value for entry, value in entries.items() if entry not in (_MAKER_NOTE, _INTEROP)}


def _assemble(base: dict[int, Any], inner: dict[int, Any], place: dict[int, Any]) -> bytes:
    """Return a TIFF structure of the entries that can be written; leave out the others."""
    exif = Image.Exif()
    exif.update(_writable(None, base.items()))
    for tag, directory in ((IFD.Exif, inner), (IFD.GPSInfo, place)):
        entries = dict(_writable(tag, directory.items()))
        if entries:
            exif.get_ifd(tag).update(entries)
            exif[tag] = exif.get_ifd(tag)
    if not exif:
        return b""
    exif[Base.Orientation] = 1
    block = bytes(exif.tobytes()).removeprefix(b"Exif\0\0")
    return block if len(block) <= _LONGEST_EXIF else _assemble(base, {}, {}) if inner or place else b""


def _writable(tag: int | None, entries: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    for entry, value in entries:
        try:
            directory_bytes(tag, {entry: value}, 8)
        except DAMAGE:  # an entry of an unexpected type
            continue
        yield entry, value


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError, struct.error):
        return None
    return (horizontal, vertical) if all(math.isfinite(value) and 0 < value < 1e6 for value in (horizontal, vertical)) else None
