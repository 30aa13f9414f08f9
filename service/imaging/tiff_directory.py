"""The directories of a TIFF file, read before a decoder sees the file. An EXIF block has the same structure.

Decoders read the values of all entries, even if thousands of entries share the same bytes, so a small file could fill the memory
or keep them busy for minutes.
"""

import struct
from typing import NamedTuple

from service.errors import UndecodableImage, UnsupportedMode

MOST_CHUNKS = 65_536
_MOST_DIRECTORIES = 64
_MOST_ENTRIES = 4096
_MOST_NUMBERS = 200_000  # in one entry; bytes and text may be longer
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BYTES = {1, 2, 6, 7}
_SHORT = 3
_BIG = 43  # the version of BigTIFF; that of classic TIFF is 42
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_REDUCED, _MASK = 1, 4
_CHUNK_TAGS = {273, 279, 324, 325}  # offsets and byte counts of strips and tiles
_SUB_DIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability


class Entry(NamedTuple):
    """An entry of a directory.

    Attributes:
        value: The value itself if there is one and it is a number of 16 or 32 bits, otherwise the offset of the values.
        raw: The 12 bytes of the entry.
    """

    value: int
    raw: bytes


Directory = dict[int, Entry]


class Page(NamedTuple):
    """The directory of a page, and its offset in the file."""

    offset: int
    entries: Directory


def full_pages(data: bytes) -> list[Page]:
    """Return the pages of a TIFF file that are neither a reduced version nor a mask of another page.

    Raises:
        UnsupportedMode: If it is BigTIFF, or there are too many directories, strips, tiles, or numbers in an entry.
        UndecodableImage: If a directory is cut off, or the directories hold more than the file.
    """
    if _BIG in data[2:4]:
        raise UnsupportedMode("BigTIFF is not supported; save the picture as a classic TIFF file, or as PNG.")
    try:
        return [page for page in _Reader(data).pages() if _is_full(page.entries)]
    except struct.error:
        raise UndecodableImage("The file is damaged or truncated.") from None


def holds_too_much(block: bytes) -> bool:
    """Tell whether an EXIF block has more directories or values than it has room for; other damage does not matter."""
    try:
        _Reader(block).pages()
    except struct.error:
        return False
    except (UnsupportedMode, UndecodableImage):
        return True
    return False


def with_first_page(data: bytes, page: Page) -> bytes:
    """Return a TIFF file that starts with another of its pages."""
    return data[:4] + struct.pack(_order(data) + "I", page.offset) + data[8:]


def with_only_page(data: bytes, page: Page, tags: frozenset[int]) -> bytes:
    """Return a TIFF file with one page, of which only the entries with these tags are left."""
    entries = [entry.raw for tag, entry in sorted(page.entries.items()) if tag in tags]
    order, start = _order(data), len(data) + len(data) % 2
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return b"".join([data[:4], struct.pack(order + "I", start), data[8:], bytes(start - len(data)), directory])


class _Reader:
    """Reads directories and adds up what they hold."""

    def __init__(self, data: bytes) -> None:
        self._data, self._order = data, _order(data)
        self._directories = self._entries = self._bytes = 0

    def pages(self) -> list[Page]:
        pages = []
        (offset,) = struct.unpack_from(self._order + "I", self._data, 4)
        while offset:
            entries, following = self._directory(offset)
            for tag in entries.keys() & _SUB_DIRECTORIES:
                if entries[tag].value + 2 <= len(self._data):
                    self._directory(entries[tag].value)
            pages.append(Page(offset, entries))
            offset = following
        return pages

    def _directory(self, offset: int) -> tuple[Directory, int]:
        """Return the entries of a directory, and the offset of the next one or 0."""
        (count,) = struct.unpack_from(self._order + "H", self._data, offset)
        end = offset + 2 + 12 * count
        if end > len(self._data):
            raise struct.error("the directory is cut off")
        self._directories += 1
        self._entries += count
        if self._directories > _MOST_DIRECTORIES:
            raise UnsupportedMode(f"The limit is {_MOST_DIRECTORIES} directories in a TIFF file.")
        if self._entries > _MOST_ENTRIES:
            raise UnsupportedMode(f"The limit is {_MOST_ENTRIES} entries in the directories of a TIFF file.")
        entries = dict(self._entry(start) for start in range(end - 12, offset, -12))  # the first of several with one tag counts
        if self._bytes > len(self._data):
            raise UndecodableImage("The file is damaged: its directories hold more than the file.")
        return entries, struct.unpack_from(self._order + "I", self._data, end)[0] if end + 4 <= len(self._data) else 0

    def _entry(self, start: int) -> tuple[int, Entry]:
        tag, kind, count, value = struct.unpack_from(self._order + "HHII", self._data, start)
        if tag in _CHUNK_TAGS and count > MOST_CHUNKS:
            raise UnsupportedMode(f"The limit is {MOST_CHUNKS} strips or tiles in a TIFF file.")
        size = _SIZES.get(kind, 8) * count
        if size > 4 and value + size <= len(self._data):  # values that are cut off are not read
            self._bytes += size
            if count > _MOST_NUMBERS and kind not in _BYTES:
                raise UnsupportedMode(f"The limit is {_MOST_NUMBERS} numbers in an entry of a TIFF file.")
        if kind == _SHORT:
            (value,) = struct.unpack_from(self._order + "H", self._data, start + 8)
        return tag, Entry(value, self._data[start : start + 12])


def _order(data: bytes) -> str:
    return ">" if data[:2] == b"MM" else "<"


def _is_full(entries: Directory) -> bool:
    if _NEW_SUBFILE_TYPE in entries:
        return not entries[_NEW_SUBFILE_TYPE].value & (_REDUCED | _MASK)
    return _SUBFILE_TYPE not in entries or entries[_SUBFILE_TYPE].value != 2
