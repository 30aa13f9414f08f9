"""Small files that would keep a decoder busy for long, or fill the memory, are refused from their structure."""

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from PIL import Image

from service.errors import ServiceError, UndecodableImage
from service.imaging.codec import decode, open_image
from service.imaging.jpeg import MOST_SCANS
from service.imaging.picture import DecodeLimits
from tests.support.bombs import (
    exif_bomb,
    jpeg_of_scans,
    jpeg_with_segments,
    png_chunk,
    png_of_chunks,
    png_of_rows,
    png_with_profiles,
    tiff_of_shared_bytes,
    tiff_of_tiles,
)

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans": (lambda: jpeg_of_scans(64, MOST_SCANS), "scans"),
    "many scans": (lambda: jpeg_of_scans(64, 60_000), "scans"),
    "JPEG segments": (lambda: jpeg_with_segments(1_000_000, 0xFE, b""), "segments"),
    "JPEG fill bytes": (lambda: jpeg_with_segments(1, 0xFE, b"").replace(b"\xff\xfe", b"\xff" * 1_000_000 + b"\xfe", 1), "fill"),
    "EXIF in JPEG": (lambda: jpeg_with_segments(1, 0xE1, b"Exif\0\0" + exif_bomb(4000, 60_000)[:65_000]), "EXIF"),
    "EXIF in many parts": (lambda: jpeg_with_segments(100, 0xE1, b"Exif\0\0" + exif_bomb(4000, 1_000_000)[:65_000]), "EXIF"),
    "views in JPEG": (lambda: jpeg_with_segments(1, 0xE2, b"MPF\0" + exif_bomb(4000, 60_000)[:65_000]), "views"),
    "empty chunks": (lambda: png_of_chunks(2_600_000, b"IDAT"), "chunks"),
    "profiles": (lambda: png_with_profiles(1000), "profiles"),
    "tiles": (lambda: tiff_of_tiles(1265, 1265, 1, 1), "tiles"),
    "huge tiles": (lambda: tiff_of_tiles(16, 10_000, 1 << 18, 16), "tiles"),
    "shared bytes": (lambda: tiff_of_shared_bytes(4000, 8_000_000), "more than the file"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_bomb_is_refused_at_once(name: str) -> None:
    make, word = REFUSED[name]
    data = make()
    start = time.thread_time()
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError, match=word):
            open_image(data, DecodeLimits())
        assert tracemalloc.get_traced_memory()[1] < 20_000_000 + len(data)
    finally:
        tracemalloc.stop()
    assert time.thread_time() - start < 5, "seconds; a hundredth of that without tracing"


def test_a_png_whose_pixels_unpack_to_far_more_than_its_size_is_refused() -> None:
    data = png_of_rows(10_000)
    with pytest.raises(UndecodableImage, match="unpack to more"):
        decode(data, DecodeLimits())


def test_the_size_that_bounds_the_pixels_of_a_png_is_that_of_its_header_chunk() -> None:
    data = png_of_rows(10_000)
    text = png_chunk(b"tEXt", struct.pack(">II", 60_000, 60_000))
    with pytest.raises(UndecodableImage):
        decode(data[:8] + text + data[8:], DecodeLimits())


def test_a_png_with_a_few_bytes_beyond_its_last_row_is_read() -> None:
    assert decode(png_of_rows(64), DecodeLimits()).planes.shape == (1, 8, 8)


def test_exif_that_shares_its_bytes_is_left_out() -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "WEBP", exif=b"Exif\0\0" + exif_bomb(4000, 60_000))
    tracemalloc.start()
    try:
        assert decode(buffer.getvalue(), DecodeLimits()).metadata.exif == b""
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("scans", lambda: jpeg_of_scans(6300, MOST_SCANS - 10)),
        ("chunks", lambda: png_of_chunks(49_000, b"tEXt", b"a\0b")),
        ("tiles", lambda: tiff_of_tiles(255, 255, 1, 1)),
        ("texts", lambda: png_of_chunks(60, b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))),
        ("segments", lambda: jpeg_with_segments(400, 0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5000)),
    ],
)
def test_what_is_accepted_costs_a_bounded_time(name: str, make: Callable[[], bytes]) -> None:
    data = make()
    start = time.thread_time()
    image = open_image(data, DecodeLimits())
    image.decode()
    assert time.thread_time() - start < 5 + 0.4 * image.header.pixels / 1e6, name


def cut(data: bytes, share: float, scans: int) -> bytes:
    """A JPEG file that ends within its last scans, with the end marker of a complete file."""
    start = 0
    for _ in range(scans):
        start = data.index(b"\xff\xda", start + 1)
    return data[: start + int(share * (len(data) - start))].rstrip(b"\xff") + b"\xff\xd9"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("restart", [0, 4])
def test_a_cut_jpeg_with_an_end_marker_is_refused(progressive: bool, share: float, channels: int, restart: int) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(samples if channels == 3 else samples[..., 0])
    image.save(buffer, "JPEG", progressive=progressive, restart_marker_blocks=restart)
    whole = buffer.getvalue()
    decode(whole, DecodeLimits())
    with pytest.raises(ServiceError, match="damaged"):
        decode(cut(whole, share, whole.count(b"\xff\xda") if share > 0.9 else 1), DecodeLimits())


@pytest.mark.parametrize("layout", [{"rowsperstrip": 4}, {"tile": (16, 16)}])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
def test_a_tiff_with_fewer_strips_or_tiles_than_it_needs_is_refused(layout: dict[str, int], compression: str | None) -> None:
    buffer = io.BytesIO()
    samples = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    tifffile.imwrite(buffer, samples, metadata=None, compression=compression, byteorder="<", **layout)
    data = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        entries = [tag.offset for tag in file.pages[0].tags.values() if tag.code in (273, 279, 324, 325)]
    for entry in entries:
        struct.pack_into("<I", data, entry + 4, struct.unpack_from("<I", data, entry + 4)[0] - 1)
    with pytest.raises(ServiceError, match="damaged"):
        decode(bytes(data), DecodeLimits())


@pytest.mark.parametrize("end", [b"", b"\0", b"\xff\xd9"])
def test_a_jpeg_of_fill_bytes_is_refused_from_its_start(end: bytes) -> None:
    with pytest.raises(UndecodableImage, match="fill bytes"):
        open_image(b"\xff\xd8" + b"\xff" * 40_000 + end, DecodeLimits())
