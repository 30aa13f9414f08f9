"""Cut and damaged AVIF and HEIC files end in an error, never in a picture with missing parts or in a crash."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from service.errors import ServiceError, UndecodableImage
from service.imaging.codec import decode
from service.imaging.picture import DecodeLimits
from tests.support.heif_files import ALPHA, Item, coded, grid, heif

KINDS = (b"av01", b"hvc1")
LIMITS = DecodeLimits()
PHOTO: NDArray[np.uint8] = np.ascontiguousarray(data.astronaut()[40:168, 150:278])


def full(kind: bytes) -> bytes:
    """A file with four tiles, alpha and EXIF."""
    tiles = [coded(kind, np.ascontiguousarray(PHOTO[y : y + 64, x : x + 64])) for y in (0, 64) for x in (0, 64)]
    alpha = coded(kind, PHOTO[..., 0], (b"auxC", bytes(4) + ALPHA[kind]))
    exif = Item(b"Exif", [], bytes(4) + b"II*\0\x08\0\0\0\0\0\0\0\0\0", [(b"cdsc", [1])])
    return heif([grid(128, 128, 2, [2, 3, 4, 5]), *tiles, replace(alpha, references=[(b"auxl", [1])]), exif])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_anywhere_is_refused(kind: bytes) -> None:
    whole = full(kind)
    decode(whole, LIMITS)
    for end in {*range(16, 2000, 37), *range(2000, len(whole), len(whole) // 40), *range(len(whole) - 30, len(whole))}:
        with pytest.raises(UndecodableImage):
            decode(whole[:end], LIMITS)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_ends_in_an_error_or_in_a_picture(kind: bytes) -> None:
    whole = full(kind)
    boxes = whole.index(b"mdat")
    generator = np.random.default_rng(0)
    for place in [*generator.integers(12, boxes, 300), *generator.integers(boxes, len(whole), 60)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << generator.integers(0, 8)
        try:
            picture = decode(bytes(changed), DecodeLimits(pixels=1_000_000))
        except ServiceError:
            continue
        assert np.isfinite(picture.planes).all()


@pytest.mark.parametrize("chroma", [444, 420])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("colors", [None, (1, 0), (9, 0x80)])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_hevc_data_that_ends_early_is_refused(
    chroma: int, depth: type[np.uint16], colors: tuple[int, int] | None, share: float
) -> None:
    """The decoder leaves zeros in the last blocks and reports nothing."""
    more = [(b"colr", struct.pack(">4sHHHB", b"nclx", 1, 1, *colors))] if colors else []
    scale = 1 if depth == np.uint8 else 257
    item = coded(b"hvc1", data.astronaut()[:256, :256].astype(depth) * scale, *more, chroma=chroma)
    decode(heif([item]), LIMITS)
    ended = item.data[4 : 4 + int(share * (len(item.data) - 4))]
    with pytest.raises(UndecodableImage, match="missing"):
        decode(heif([replace(item, data=struct.pack(">I", len(ended)) + ended)]), LIMITS)


def test_pure_green_is_no_sign_of_damage() -> None:
    for level in (135, 255):
        samples = np.zeros((64, 64, 3), np.uint8)
        samples[..., 1] = level
        for chroma in (444, 420):
            picture = decode(heif([coded(b"hvc1", samples, chroma=chroma)]), LIMITS)
            assert np.abs(picture.planes[1] * 255 - level).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_no_thread_is_left(kind: bytes) -> None:
    whole = full(kind)
    decode(whole, LIMITS)
    before = len(list(Path("/proc/self/task").iterdir()))
    for _ in range(3):
        decode(whole, LIMITS)
    assert len(list(Path("/proc/self/task").iterdir())) <= before


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_outlive_the_library_that_made_them(kind: bytes) -> None:
    """The library frees its memory with the image; what comes next may overwrite it."""
    file = heif([coded(kind, PHOTO)])
    first = decode(file, LIMITS).planes
    for seed in range(5):
        other = np.random.default_rng(seed).integers(0, 256, PHOTO.shape, dtype=np.uint8)
        decode(heif([coded(kind, other)]), LIMITS)
    assert np.array_equal(decode(file, LIMITS).planes, first)
    assert np.abs(first.transpose(1, 2, 0) * 255 - PHOTO).mean() < 3
