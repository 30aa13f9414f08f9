"""The boxes of an AVIF or HEIC file: which images it holds, where their data is, and what the file says about them.

Both formats are HEIF (ISO/IEC 23008-12). A file holds many items, such as the picture, its tiles, its alpha, thumbnails and depth
maps. No decoder sees this file: each coded image that is part of the picture is put into a new file of its own, so that what is
decoded is what was checked here.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from service.errors import UndecodableImage, UnsupportedMode

_MOST_BOXES = 10_000
_MOST_ENTRIES = 50_000  # a photograph of 48 megapixels with its depth map and gain map has about 3000
_DAMAGED = "The file is damaged or truncated."
_LARGE_SIZE, _TO_THE_END = 1, 0
_IN_FILE, _IN_META = 0, 1
_ESSENTIAL = 0x80


@dataclass(slots=True)
class Item:
    """An item of a file.

    Attributes:
        kind: What it is: b"av01" and b"hvc1" are coded images, b"grid" is an image made of others.
        properties: Types and contents of its properties, in the order in which they apply.
        essential: Types of the properties that a reader must know.
        parts: Offsets of the start and the end of each part of its data.
        references: Identifiers of the items that it refers to, by the type of the reference.
    """

    kind: bytes
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    essential: set[bytes] = field(default_factory=set)
    parts: list[tuple[int, int]] = field(default_factory=list)
    references: dict[bytes, list[int]] = field(default_factory=dict)

    def described(self, kind: bytes) -> bytes:
        """Return the content of its first property of a type, or nothing."""
        return next((content for name, content in self.properties if name == kind), b"")

    @property
    def length(self) -> int:
        """Bytes of its data."""
        return sum(end - start for start, end in self.parts)


class Container:
    """The items of a file.

    Attributes:
        items: The items by their identifiers.
        primary: Identifier of the picture itself.
        size: Bytes of the file.
    """

    def __init__(self, data: bytes) -> None:
        """Read the boxes, but not the data of the items.

        Raises:
            UnsupportedMode: If the file is animated, or there are too many boxes or entries in them.
            UndecodableImage: If the boxes are damaged.
            KeyError: If one is missing.
        """
        self._data, self.size, self._entries = data, len(data), 0
        self.items: dict[int, Item] = {}
        top = {kind: (start, end) for kind, start, end in _boxes(data, 0, len(data))}
        if b"moov" in top:
            raise UnsupportedMode("Send a single frame; animated images are not supported.")
        start, end = top.get(b"meta", (0, 0))
        boxes = {kind: _Cursor(data, first, last) for kind, first, last in _boxes(data, start + 4, min(end, len(data)))}
        self._read_kinds(boxes[b"iinf"])
        self._read_parts(boxes[b"iloc"], boxes[b"idat"].position if b"idat" in boxes else 0)
        self._read_properties(boxes[b"iprp"])
        if b"iref" in boxes:
            self._read_references(boxes[b"iref"])
        self.primary = boxes[b"pitm"].identifier(large=boxes[b"pitm"].version()[0] > 0)
        if self.primary not in self.items:
            raise UndecodableImage(_DAMAGED)

    def content(self, item: Item) -> bytes:
        """Return the data of an item.

        Raises:
            UndecodableImage: If part of it is missing, or it is longer than the file.
        """
        if not 0 < item.length <= self.size or any(end > self.size for _, end in item.parts):
            raise UndecodableImage(_DAMAGED)
        return b"".join(self._data[start:end] for start, end in item.parts)

    def referring(self, reference: bytes, target: int) -> list[Item]:
        """Return the items that refer to another one."""
        return [item for item in self.items.values() if target in item.references.get(reference, ())]

    def _read_kinds(self, cursor: "_Cursor") -> None:
        version, _ = cursor.version()
        cursor.number(4 if version else 2)  # how many there are, which their boxes tell too
        for kind, start, end in _boxes(self._data, cursor.position, cursor.end):
            entry = _Cursor(self._data, start, end)
            version, _ = entry.version()
            if kind != b"infe" or version < 2:
                continue
            identifier = entry.identifier(large=version > 2)
            if not entry.number(2):  # not encrypted
                self.items.setdefault(identifier, Item(entry.text(4)))

    def _read_parts(self, cursor: "_Cursor", meta_data: int) -> None:
        version, _ = cursor.version()
        sizes = cursor.number(2)
        offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        for _ in self._counted(cursor.number(4 if version > 1 else 2)):
            item = self.items.get(cursor.identifier(large=version > 1))
            place = cursor.number(2) & 15 if version else _IN_FILE
            elsewhere = cursor.number(2) or place not in (_IN_FILE, _IN_META)
            base = cursor.number(base_size) + (meta_data if place == _IN_META else 0)
            for _ in self._counted(cursor.number(2)):
                cursor.number(index_size if version else 0)
                start, length = base + cursor.number(offset_size), cursor.number(length_size)
                if item and not elsewhere:
                    item.parts.append((start, start + length))

    def _read_references(self, cursor: "_Cursor") -> None:
        size = 4 if cursor.version()[0] else 2
        for kind, start, end in _boxes(self._data, cursor.position, cursor.end):
            entry = _Cursor(self._data, start, end)
            item = self.items.get(entry.number(size))
            targets = [entry.number(size) for _ in self._counted(entry.number(2))]
            if item:
                item.references.setdefault(kind, []).extend(targets)

    def _read_properties(self, cursor: "_Cursor") -> None:
        boxes = list(_boxes(self._data, cursor.position, cursor.end))
        properties: list[tuple[bytes, bytes]] = []
        for kind, start, end in boxes:
            if kind == b"ipco":
                properties += [(name, self._data[first:last]) for name, first, last in _boxes(self._data, start, end)]
        for kind, start, end in boxes:
            if kind == b"ipma":
                self._associate(_Cursor(self._data, start, end), properties)

    def _associate(self, cursor: "_Cursor", properties: list[tuple[bytes, bytes]]) -> None:
        version, flags = cursor.version()
        size = 2 if flags & 1 else 1
        for _ in self._counted(cursor.number(4)):
            item = self.items.get(cursor.identifier(large=version > 0))
            for _ in self._counted(cursor.number(1)):
                value = cursor.number(size)
                essential = _ESSENTIAL << 8 * (size - 1)
                index = value & ~essential
                if item and 0 < index <= len(properties):
                    item.properties.append(properties[index - 1])
                    item.essential |= {properties[index - 1][0]} if value & essential else set()

    def _counted(self, entries: int) -> range:
        """Count further entries of the boxes, each of which costs time."""
        self._entries += entries
        if self._entries > _MOST_ENTRIES:
            raise UnsupportedMode(f"The limit is {_MOST_ENTRIES} entries in the boxes of an AVIF or HEIC file.")
        return range(entries)


def single_image(kind: bytes, properties: Iterable[tuple[bytes, bytes]], content: bytes) -> bytes:
    """Return a file that holds one coded image and nothing else.

    Args:
        kind: b"av01" or b"hvc1".
        properties: Types and contents of its properties.
        content: Its data.
    """
    brand = {b"av01": b"avif", b"hvc1": b"heic"}[kind]
    boxes = [_box(name, value) for name, value in properties]
    item = struct.pack(">IHH4sx", 2 << 24, 1, 0, kind)
    associations = struct.pack(">IIHB", 0, 1, 1, len(boxes)) + bytes(range(1, len(boxes) + 1))
    start = 0
    for _ in range(2):  # the first time to find out how long it is
        head = _box(b"ftyp", brand, bytes(4), brand, b"mif1", b"miaf") + _box(
            b"meta",
            bytes(4),
            _box(b"hdlr", bytes(8), b"pict", bytes(13)),
            _box(b"pitm", struct.pack(">IH", 0, 1)),
            _box(b"iloc", struct.pack(">IHHHHHII", 0, 0x4400, 1, 1, 0, 1, start, len(content))),
            _box(b"iinf", struct.pack(">IH", 0, 1), _box(b"infe", item)),
            _box(b"iprp", _box(b"ipco", *boxes), _box(b"ipma", associations)),
        )
        start = len(head) + 8
    return head + _box(b"mdat", content)


class _Cursor:
    """Reads what is in a box, one number after another.

    Attributes:
        position: Offset of the next byte in the file.
        end: Offset of the end of the box.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self.position, self.end = data, start, end

    def text(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > self.end:
            raise UndecodableImage(_DAMAGED)
        return self._data[start : self.position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.text(size), "big")

    def identifier(self, *, large: bool) -> int:
        return self.number(4 if large else 2)

    def version(self) -> tuple[int, int]:
        """Return the version and the flags with which many boxes begin."""
        return self.number(1), self.number(3)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box between two offsets, and the offsets of the start and the end of its content."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        first = start + 8
        if size == _LARGE_SIZE:
            first += 8
            size = int.from_bytes(data[start + 8 : first], "big")
        following = end if size == _TO_THE_END else start + size
        if following < first:
            return
        yield kind, first, following
        start = following
    raise UnsupportedMode(f"The limit is {_MOST_BOXES} boxes in an AVIF or HEIC file.")


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content
