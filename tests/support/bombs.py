"""Files that are small, or ordinary, and expensive to decode."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def small_jpeg(**options: bool) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 128).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def jpeg_of_scans(side: int, count: int) -> bytes:
    """A flat gray JPEG file with so many more scans, each of which refines nothing, in a few bytes."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True)
    body = buffer.getvalue()[:-2]
    table = b"\xff\xc4" + struct.pack(">H", 20) + b"\x10" + bytes([1] + [0] * 15) + b"\xe0"
    runs = -(-(((side + 7) // 8) ** 2) // 32767)  # each run of 15 bits skips 32,767 blocks
    bits = ("0" + "1" * 14) * runs
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return body + table + b"\xff\xda\0\x08\x01\x01\0\x01\x3f\x10".join([b""] + [coded] * count) + b"\xff\xd9"


def jpeg_with_segments(count: int, marker: int, content: bytes) -> bytes:
    segment = struct.pack(">BBH", 255, marker, len(content) + 2) + content
    data = small_jpeg()
    return data[:2] + segment * count + data[2:]


def exif_bomb(entries: int, size: int) -> bytes:
    """An EXIF block whose entries all share the same bytes."""
    directory = b"".join(struct.pack("<HHII", tag + 1, 7, size, 8) for tag in range(entries))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + directory + bytes(4)
    return block.ljust(size + 8, b"\0")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_chunks(count: int, kind: bytes, content: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(kind, content) * count + pixels + png_chunk(b"IEND", b"")


def png_of_rows(count: int, row: bytes = bytes(9)) -> bytes:
    """A gray PNG file of 8 x 8 px by its header, whose pixels unpack to so many rows."""
    deflater = zlib.compressobj(9)
    packed = b"".join(deflater.compress(row * (count // 64)) for _ in range(64)) + deflater.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def png_with_profiles(count: int) -> bytes:
    return png_of_chunks(count, b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))


def tiff_of(width: int, height: int, entries: list[tuple[int, int, int, bytes]], data: bytes = b"") -> bytes:
    """A gray TIFF file: its further entries are (tag, type, count, values), and `data` follows their values."""
    size = [(256, 4, 1, struct.pack("<I", width)), (257, 4, 1, struct.pack("<I", height))]
    kind = [(tag, 3, 1, struct.pack("<H", value)) for tag, value in ((258, 8), (262, 1), (277, 1))]
    everything = sorted(size + kind + entries)
    directory, values, start = struct.pack("<H", len(everything)), b"", 8 + 2 + 12 * len(everything) + 4
    for tag, type_, count, value in everything:
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", start + len(values))
        directory += struct.pack("<HHI", tag, type_, count) + place
        values += value if len(value) > 4 else b""
    return b"II*\0\x08\0\0\0" + directory + bytes(4) + values + data


def tiff_of_tiles(width: int, height: int, tile_width: int, tile_height: int) -> bytes:
    """A TIFF file whose deflated tiles are all the same bytes."""
    count = -(-width // tile_width) * -(-height // tile_height)
    tile = zlib.compress(bytes(tile_width * tile_height))
    start = 8 + 2 + 12 * 10 + 4 + 8 * count
    offsets, lengths = (np.full(count, value, "<u4").tobytes() for value in (start, len(tile)))
    layout = [(322, 4, 1, struct.pack("<I", tile_width)), (323, 4, 1, struct.pack("<I", tile_height))]
    compression = [(259, 3, 1, struct.pack("<H", 8))]
    return tiff_of(width, height, [*compression, *layout, (324, 4, count, offsets), (325, 4, count, lengths)], tile)


def tiff_of_shared_bytes(entries: int, size: int) -> bytes:
    """A TIFF file thousands of whose entries are the same bytes."""
    strip = [(259, 3, 1, struct.pack("<H", 1)), (273, 4, 1, struct.pack("<I", 8)), (279, 4, 1, struct.pack("<I", 64))]
    shared = [(50_000 + index, 7, size, struct.pack("<I", 8)) for index in range(entries)]
    return tiff_of(8, 8, strip + shared, bytes(size))
