"""What travels beside the pixels: EXIF rebuilt tag by tag, ICC profile, resolution, and what made the picture.

EXIF is never passed on as it came. The tags that describe the picture are copied into a fresh block, because orientation and
size change, the thumbnail shows the noisy picture, and a maker note holds offsets that no longer point anywhere.
"""

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from service.imaging.decode_errors import DAMAGE
from service.imaging.picture import Metadata

Keep = Literal["no-gps", "keep", "strip"]

# Tags of the first directory that describe the picture; all others there describe how a file stores it.
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
_HEAD = b"II*\0\x08\0\0\0"  # a little-endian TIFF structure whose first directory follows at once
_LONGEST_EXIF = 65000  # a JPEG segment holds 65533 bytes
_SPACES = {1: b"GRAY", 3: b"RGB "}


def read(exif: Image.Exif, info: dict[Any, Any], width: int, height: int) -> tuple[Metadata, int]:
    """Gather what is known beside the pixels.

    Args:
        exif: As the file has it.
        info: The file's other entries, by Pillow's names: `icc_profile`, `dpi`.
        width: Pixels a row as stored.
        height: Rows as stored.

    Returns:
        The metadata, orientation 1, and the orientation that the pixels need (1 to 8).
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


def exif_of_tiff(data: bytes) -> Image.Exif:
    """The first directory of a TIFF file as EXIF, for a TIFF file is what an EXIF block imitates."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except DAMAGE:
        return Image.Exif()
    return exif


def software_text(version: str, model: str, sigma: float, weights_sha256: str | None) -> str:
    """What made the picture, for its Software entry; a method without weights has no hash."""
    text = f"n3denoise {version} model={model} sigma={sigma:.4g}"
    return f"{text} weights=sha256:{weights_sha256}" if weights_sha256 else text


def prepared(metadata: Metadata, keep: Keep, software: str) -> Metadata:
    """The metadata to write: all but the place (the default), all, or none at all.

    Args:
        metadata: As read.
        keep: "no-gps", "keep" or "strip".
        software: Names what made the picture; written unless everything is stripped.
    """
    if keep == "strip":
        return Metadata()
    base, inner, place = _parts(metadata.exif)
    base[Base.Software] = software
    return replace(metadata, exif=_assemble(base, inner, place if keep == "keep" else {}), software=software)


def profile_for(metadata: Metadata, channels: int) -> bytes:
    """The ICC profile, unless it speaks of another number of channels, as a color profile does for a gray picture."""
    return metadata.icc if metadata.icc[16:20] == _SPACES.get(channels) else b""


def exif_block(metadata: Metadata) -> bytes:
    """The EXIF block with its prefix; empty if there is none."""
    return b"Exif\0\0" + metadata.exif if metadata.exif else b""


def tiff_tags(metadata: Metadata) -> tuple[list[tuple[int, str, int, Any, bool]], dict[int, dict[int, Any]]]:
    """The same as tags for a TIFF writer: those of the first directory that are text, and the directories below it."""
    base, inner, place = _parts(metadata.exif)
    texts = [(tag, "s", 0, value, True) for tag, value in base.items() if isinstance(value, str) and tag != Base.Software]
    return texts, {tag: directory for tag, directory in ((int(IFD.Exif), inner), (int(IFD.GPSInfo), place)) if directory}


def directory_bytes(tag: int, directory: dict[int, Any], offset: int) -> bytes:
    """A directory as it stands at an offset of a little-endian TIFF file."""
    written = ImageFileDirectory_v2(_HEAD, group=tag)
    for entry, value in directory.items():
        written[entry] = value
    return bytes(written.tobytes(offset))


def _parts(block: bytes) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    exif = Image.Exif()
    exif.load(block)
    return _description(exif), _directory(exif, IFD.Exif), _directory(exif, IFD.GPSInfo)


def _entry(exif: Image.Exif, tag: int) -> Any:
    try:
        return exif.get(tag)
    except DAMAGE:  # it is read only now
        return None


def _description(exif: Image.Exif) -> dict[int, Any]:
    entries = {int(tag): _entry(exif, tag) for tag in sorted(DESCRIPTIVE)}
    return {tag: value for tag, value in entries.items() if value is not None}


def _directory(exif: Image.Exif, tag: IFD) -> dict[int, Any]:
    try:
        entries = dict(exif.get_ifd(tag))
    except DAMAGE:
        return {}
    return {entry: value for entry, value in entries.items() if entry not in (_MAKER_NOTE, _INTEROP)}


def _assemble(base: dict[int, Any], inner: dict[int, Any], place: dict[int, Any]) -> bytes:
    """A TIFF structure of what can be written; entries that cannot are left out."""
    exif = Image.Exif()
    exif.update(_writable(0, base.items()))
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


def _writable(tag: int, entries: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    for entry, value in entries:
        try:
            directory_bytes(tag, {entry: value}, 8)
        except DAMAGE:  # an entry of an unforeseen type
            continue
        yield entry, value


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError, struct.error):
        return None
    return (horizontal, vertical) if all(math.isfinite(value) and 0 < value < 1e6 for value in (horizontal, vertical)) else None
