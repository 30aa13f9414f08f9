"""The structure of a JPEG file, read before a decoder sees the file, and a test for files that end too early.

A decoder goes over the whole picture for every scan, however few bytes the scan has, so a small file can keep it busy
for minutes.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from service.errors import UndecodableImage, UnsupportedMode
from service.imaging.tiff_directory import holds_too_much

# Encoders write about ten for a progressive color picture. 30 scans of 40 megapixels cost 2 seconds of computing, a hundredth of
# what denoising them costs on a CPU.
MOST_SCANS = 30
_MOST_SEGMENTS = 2000
_MOST_FILL_BYTES = 10_000
_WINDOW = 1 << 18  # bytes searched at a time, so that a file of fill bytes is refused early
# A marker other than the restart markers. In entropy-coded data, 0xFF is followed by 0 or is a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START, _END, _TEMPORARY = 0xD8, 0xD9, 0x01
_START_OF_SCAN = 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2
_APP1, _EXIF = 0xE1, b"Exif\0\0"
_APP2, _VIEWS = 0xE2, b"MPF\0"
_ARITHMETIC = range(0xC9, 0xD0)
# Any bytes will do that are neither the code of a flat area nor a marker.
_EXTRA = bytes(17 * number % 251 for number in range(4096))


@dataclass(frozen=True, slots=True)
class JpegStructure:
    """What the markers of a JPEG file say.

    Attributes:
        width: Pixels per row.
        height: Rows.
        components: Number of components.
        scans: Number of scans.
        complete: Whether every component has a scan, and a progressive file refines every coefficient to its last bit.
        end: Offset of the end marker; the length of the file if there is none.
    """

    width: int
    height: int
    components: int
    scans: int
    complete: bool
    end: int


def read_structure(data: bytes) -> JpegStructure:
    """Read the markers of a JPEG file, in linear time.

    Raises:
        UnsupportedMode: If there are too many scans or segments, or the file uses arithmetic coding.
        UndecodableImage: If the markers are damaged.
    """
    frame = b""
    kind = scans = 0
    unrefined: dict[int, list[int]] = {}  # component: for each of its 64 coefficients, the bits that are still missing
    exif = b""
    end = len(data)
    for marker, segment, offset in _segments(data):
        if marker == _END:
            end = offset
        elif marker in _ARITHMETIC:
            raise UnsupportedMode("Send JPEG with Huffman coding; arithmetic coding is not supported.")
        elif marker == _APP1 and segment.startswith(_EXIF):
            exif += segment.removeprefix(_EXIF)
        elif marker == _APP2 and segment.startswith(_VIEWS):
            _check_directory(segment.removeprefix(_VIEWS))
        elif marker in _FRAMES and not frame:
            kind, frame = marker, segment
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans > MOST_SCANS:
                raise UnsupportedMode(f"The limit is {MOST_SCANS} scans in a JPEG file.")
            _refine(unrefined, segment)
    _check_directory(exif)
    if not scans and not frame:
        return JpegStructure(0, 0, 0, 0, complete=True, end=end)
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise UndecodableImage("The file is damaged or truncated.")
    height, width, components = struct.unpack_from(">HHB", frame, 1)
    names = frame[6 : 6 + 3 * components : 3]
    missing = [unrefined.get(name) for name in names]
    complete = all(bits is not None and not (kind == _PROGRESSIVE and any(bits)) for bits in missing)
    return JpegStructure(width, height, components, scans, complete, end)


def with_longer_scan(data: bytes, end: int) -> bytes:
    """Return a JPEG file with more data in its last scan.

    A decoder ignores what follows the last block of a complete scan. If the scan was cut short, the decoder takes the data for
    the missing blocks, and the pixels change.

    Args:
        data: The file.
        end: Offset of its end marker.
    """
    return data[:end] + _EXTRA + bytes([0xFF, _END])


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield the markers with their segments and offsets, up to the end marker."""
    position, fill_bytes = 2, 0
    for _ in range(_MOST_SEGMENTS):
        found = None
        while found is None:
            if position >= len(data):
                return
            found = _MARKER.search(data, position, position + _WINDOW + 1)
            searched = found.end() if found else position + _WINDOW
            fill_bytes += data.count(b"\xff\xff", position, searched)
            if fill_bytes > _MOST_FILL_BYTES:
                raise UndecodableImage("The file is damaged: it has too many fill bytes.")
            position = searched
        marker, position = data[found.end() - 1], found.end()
        if marker in (_START, _TEMPORARY):
            continue
        if marker == _END:
            yield marker, b"", found.start()
            return
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2:
            raise UndecodableImage("The file is damaged or truncated.")
        yield marker, data[position + 2 : position + length], found.start()
        position += length
    raise UnsupportedMode(f"The limit is {_MOST_SEGMENTS} segments in a JPEG file.")


def _check_directory(block: bytes) -> None:
    if holds_too_much(block):
        raise UndecodableImage("The file is damaged: its EXIF block or its list of views holds more than it has room for.")


def _refine(unrefined: dict[int, list[int]], scan: bytes) -> None:
    """Note which bits of which coefficients a scan leaves missing."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:
        raise UndecodableImage("The file is damaged or truncated.")
    first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
    for name in scan[1 : 1 + 2 * count : 2]:
        coefficients = unrefined.setdefault(name, [1] * 64)
        coefficients[first : last + 1] = [bits & 15] * len(coefficients[first : last + 1])
