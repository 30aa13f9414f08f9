"""Files in and out, 8-bit first."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.codec import decode, encode, probe, to_gray
from service.errors import InvalidParameter, ServiceError, TooManyPixels, UndecodableImage, UnsupportedFormat
from service.picture import FORMATS, Format, Limits, Picture

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
    picture = decode(file(samples, kind, **({"lossless": True} if kind == "webp" else {})), Limits())
    assert (picture.width, picture.height, picture.format) == (13, 9, kind)
    returned = np.asarray(Image.open(io.BytesIO(encode(picture))).convert("RGB"))
    assert np.array_equal(returned, np.asarray(Image.fromarray(samples).convert("RGB")))


def test_gray_is_the_papers_rounded_to_levels() -> None:
    samples = ramp(20, 20, 3)
    gray = to_gray(decode(file(samples, "png"), Limits()))
    expected = np.rint(samples[..., 0] * 0.2989 + samples[..., 1] * 0.5870 + samples[..., 2] * 0.1140)
    assert np.array_equal(np.rint(gray.planes[0] * 255), expected)
    assert gray.channels == 1


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_undecodable(kind: Format, share: float) -> None:
    whole = file(ramp(64, 64, 3), kind)
    with pytest.raises(UndecodableImage):
        decode(whole[: int(len(whole) * share)], Limits())


@pytest.mark.parametrize("content", [b"GIF89a" + bytes(40), b"\0" * 100])
def test_other_content_is_an_unsupported_format(content: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        probe(content, Limits())


def test_an_empty_file_is_undecodable() -> None:
    with pytest.raises(UndecodableImage, match="empty"):
        probe(b"", Limits())


def test_pixels_are_limited_from_the_header() -> None:
    whole = file(ramp(50, 41), "png")
    assert probe(whole, Limits(pixels=50 * 41)).pixels == 50 * 41
    with pytest.raises(TooManyPixels):
        probe(whole, Limits(pixels=50 * 41 - 1))


def test_a_depth_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        encode(Picture(np.zeros((1, 2, 2), np.float32)), "jpeg", "16")


def test_errors_are_the_services_own() -> None:
    with pytest.raises(ServiceError):
        decode(b"\x89PNG\r\n\x1a\n" + bytes(64), Limits())


def tagged(tag: int, kind: int, count: int, value: int) -> bytes:
    """A gray TIFF file with alpha, one of whose tags is overwritten."""
    buffer = io.BytesIO()
    Image.fromarray(ramp(9, 12, 2)).save(buffer, "TIFF")
    data = bytearray(buffer.getvalue())
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<HHII", data, entry, tag, kind, count, value)
            return bytes(data)
    raise AssertionError(tag)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # Pillow, which reads the EXIF tags, warns of the damage
@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 338])
@pytest.mark.parametrize(
    ("kind", "count", "value"), [(2, 3, 0x202020), (4, 100, 8), (3, 1, 1), (4, 1, 0xFFFFFFFF), (200, 1, 1), (12, 2, 9)]
)
def test_a_damaged_tag_ends_in_an_error_of_ours_or_in_a_picture(tag: int, kind: int, count: int, value: int) -> None:
    try:
        picture = decode(tagged(tag, kind, count, value), Limits(pixels=1_000_000))
    except ServiceError:
        return
    assert decode(encode(picture), Limits()).planes.shape == picture.planes.shape
