"""Files in and out, 8-bit first."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidParameter, ServiceError, TooManyPixels, UndecodableImage, UnsupportedFormat, UnsupportedMode
from service.imaging.codec import decode, encode, open_image, to_gray
from service.imaging.picture import FORMATS, DecodeLimits, Format, Picture

LOSSLESS: tuple[Format, ...] = ("png", "webp", "tiff", "bmp")


def ramp(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def file(samples: NDArray[Any], kind: Format, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, kind.upper(), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 3)])
def test_eight_bits_pass_unchanged(kind: Format, shape: tuple[int, ...]) -> None:
    samples = ramp(*shape)
    picture = decode(file(samples, kind, **({"lossless": True} if kind == "webp" else {})), DecodeLimits())
    assert (picture.width, picture.height, picture.format) == (13, 9, kind)
    returned = np.asarray(Image.open(io.BytesIO(encode(picture))).convert("RGB"))
    assert np.array_equal(returned, np.asarray(Image.fromarray(samples).convert("RGB")))


def test_gray_is_the_papers_rounded_to_levels() -> None:
    samples = ramp(20, 20, 3)
    gray = to_gray(decode(file(samples, "png"), DecodeLimits()))
    expected = np.rint(samples[..., 0] * 0.2989 + samples[..., 1] * 0.5870 + samples[..., 2] * 0.1140)
    assert np.array_equal(np.rint(gray.planes[0] * 255), expected)
    assert gray.channels == 1


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_undecodable(kind: Format, share: float) -> None:
    whole = file(ramp(64, 64, 3), kind)
    with pytest.raises(UndecodableImage):
        decode(whole[: int(len(whole) * share)], DecodeLimits())


@pytest.mark.parametrize("content", [b"GIF89a" + bytes(40), b"\0" * 100])
def test_other_content_is_an_unsupported_format(content: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        open_image(content, DecodeLimits())


def test_an_empty_file_is_undecodable() -> None:
    with pytest.raises(UndecodableImage, match="empty"):
        open_image(b"", DecodeLimits())


def test_pixels_are_limited_from_the_header() -> None:
    whole = file(ramp(50, 41), "png")
    assert open_image(whole, DecodeLimits(pixels=50 * 41)).header.pixels == 50 * 41
    with pytest.raises(TooManyPixels):
        open_image(whole, DecodeLimits(pixels=50 * 41 - 1))


@pytest.mark.parametrize(("height", "width"), [(1, 500), (500, 1), (7, 500), (500, 31)])
def test_a_thin_picture_counts_as_a_thicker_one(height: int, width: int) -> None:
    thin = file(ramp(height, width), "png")
    assert open_image(thin, DecodeLimits(pixels=32 * 500)).header.counted_pixels == 32 * 500
    with pytest.raises(TooManyPixels, match="below 32 pixels count as 32"):
        open_image(thin, DecodeLimits(pixels=32 * 500 - 1))


def bomb(kind: Format) -> bytes:
    """A small file whose header claims 16,000 x 16,000 pixels and more."""
    data = bytearray(file(np.zeros((16, 16, 3), np.uint8), kind, **({"lossless": True} if kind == "webp" else {})))
    if kind == "png":
        data[16:24] = struct.pack(">II", 20_000, 20_000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "bmp":
        data[18:26] = struct.pack("<ii", 20_000, 20_000)
    elif kind == "jpeg":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", 20_000, 20_000)
    elif kind == "avif":
        start = data.index(b"ispe") + 8
        data[start : start + 8] = struct.pack(">II", 20_000, 20_000)
    elif kind == "webp":
        start = data.index(b"VP8L") + 9  # 14 bits each for width and height, less one
        data[start : start + 4] = struct.pack("<I", struct.unpack_from("<I", data, start)[0] | (1 << 28) - 1)
    else:
        data = bytearray(tagged_size(bytes(data), 20_000))
    return bytes(data)


def tagged_size(data: bytes, side: int) -> bytes:
    return overwritten(overwritten(data, 256, 4, 1, side), 257, 4, 1, side)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_bomb_is_refused_from_its_header(kind: Format) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooManyPixels):
            decode(bomb(kind), DecodeLimits())
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def tiled(side: int, tile: int, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    shape = (side, side, channels) if channels > 1 else (side, side)
    layout: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig" if channels > 1 else None}
    tifffile.imwrite(buffer, np.zeros(shape, np.float32), tile=(tile, tile), compression="adobe_deflate", **layout)
    return buffer.getvalue()


def deep(data: bytes, layers: int) -> bytes:
    """A TIFF file whose tiles claim to be so many layers deep; its name of the software has to go."""
    entry = data.index(struct.pack("<HH", 305, 2))
    return data[:entry] + struct.pack("<HHII", 32998, 4, 1, layers) + data[entry + 12 :]


@pytest.mark.parametrize("data", [tiled(16, 4096), tiled(16, 1024, 5), deep(tiled(16, 256), 100)])
def test_a_small_image_in_a_huge_tile_is_refused(data: bytes) -> None:
    assert len(data) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedMode, match="tiles"):
            decode(data, DecodeLimits())
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("side", "tile", "channels"), [(16, 256, 3), (16, 512, 3), (10, 1024, 4), (1100, 2064, 1)])
def test_an_image_smaller_than_its_tile_is_read(side: int, tile: int, channels: int) -> None:
    assert decode(tiled(side, tile, channels), DecodeLimits()).planes.shape == (channels, side, side)


def test_a_depth_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        encode(Picture(np.zeros((1, 2, 2), np.float32)), "jpeg", "16")


def test_errors_are_the_services_own() -> None:
    with pytest.raises(ServiceError):
        decode(b"\x89PNG\r\n\x1a\n" + bytes(64), DecodeLimits())


def overwritten(data: bytes, tag: int, kind: int, count: int, value: int) -> bytes:
    """A TIFF file, one of whose tags is overwritten."""
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", changed, 4)
    (entries,) = struct.unpack_from("<H", changed, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", changed, entry)[0] == tag:
            struct.pack_into("<HHII", changed, entry, tag, kind, count, value)
            return bytes(changed)
    raise AssertionError(tag)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # Pillow, which reads the EXIF tags, warns of the damage
@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 338])
@pytest.mark.parametrize(
    ("kind", "count", "value"), [(2, 3, 0x202020), (4, 100, 8), (3, 1, 1), (4, 1, 0xFFFFFFFF), (200, 1, 1), (12, 2, 9)]
)
def test_a_damaged_tag_ends_in_an_error_of_ours_or_in_a_picture(tag: int, kind: int, count: int, value: int) -> None:
    try:
        picture = decode(overwritten(file(ramp(9, 12, 2), "tiff"), tag, kind, count, value), DecodeLimits(pixels=1_000_000))
    except ServiceError:
        return
    assert decode(encode(picture), DecodeLimits()).planes.shape == picture.planes.shape


@pytest.mark.parametrize("count", [1, 5, 3 * 255])
def test_a_palette_of_the_wrong_size_is_damage(count: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(99, dtype=np.uint8).reshape(9, 11)).convert("P").save(buffer, "tiff")
    with tifffile.TiffFile(io.BytesIO(buffer.getvalue())) as opened:
        start = opened.pages[0].tags[320].valueoffset
    with pytest.raises(UndecodableImage):
        decode(overwritten(buffer.getvalue(), 320, 3, count, start), DecodeLimits())
