"""Small AVIF and HEIC files that would keep a decoder busy for long, or fill the memory, are refused."""

import struct
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from service.errors import ServiceError, TooManyPixels, UndecodableImage, UnsupportedMode
from service.imaging.codec import decode, open_image
from service.imaging.heif_streams import check_av1
from service.imaging.picture import DecodeLimits
from tests.support.heif_files import Item, box, coded, content_of, film, grid, heif

KINDS = (b"av01", b"hvc1")
FLAT = np.full((64, 64, 3), 128, np.uint8)


def sized(item: Item, width: int, height: int) -> Item:
    """The same item with another size in its properties."""
    return replace(item, properties=[(b"ispe", struct.pack(">III", 0, width, height)), *item.properties[1:]])


def meta(*boxes: bytes) -> bytes:
    """A file of boxes, with empty ones for those that every file needs."""
    needed = box(b"iinf", bytes(6)) + box(b"iloc", bytes(8)) + box(b"iprp") + box(b"pitm", bytes(6))
    return box(b"ftyp", b"avif", bytes(4), b"mif1") + box(b"meta", bytes(4), needed, *boxes)


def many_parts() -> bytes:
    """A place of items that says that there are 65,535 of them with 65,535 parts each, in a few bytes."""
    return struct.pack(">BxHHH", 1, 0, 0, 65535) + struct.pack(">HHHH", 1, 0, 0, 65535) * 65535


def av1() -> Item:
    return coded(b"av01", FLAT)


def hevc() -> Item:
    return coded(b"hvc1", FLAT)


STRUCTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "an animated file": (film, "single frame"),
    "a film beside the picture": (lambda: heif([hevc()], after=box(b"moov")), "single frame"),
    "boxes": (lambda: meta(box(b"free") * 1_000_000), "boxes"),
    "items": (lambda: meta(box(b"iinf", bytes(6), box(b"infe", b"\2" + bytes(12)) * 1_000_000)), "boxes"),
    "parts": (lambda: meta(box(b"iloc", many_parts())), "entries"),
    "references": (
        lambda: meta(box(b"iref", bytes(4), box(b"dimg", struct.pack(">HH", 1, 65535) + bytes(131070)) * 200)),
        "entries",
    ),
    "associations": (
        lambda: meta(box(b"iprp", box(b"ipma", struct.pack(">II", 0, 40_000) + (b"\0\1\xff" + bytes(255)) * 40_000))),
        "entries",
    ),
    "tiles": (lambda: heif([grid(2048, 2048, 64, [2] * 4096), sized(av1(), 32, 32)]), "tiles"),
    "large tiles": (lambda: heif([grid(1, 1, 1, [2]), sized(av1(), 4096, 4096)]), "tiles"),
    "tiles that share their data": (
        lambda: heif([grid(1024, 1024, 16, [2] * 256), replace(av1(), data=bytes(1_000_000))]),
        "overlap",
    ),
    "an overlay": (lambda: heif([Item(b"iovl", av1().properties, bytes(20), [(b"dimg", [2])]), av1()]), "grid of tiles"),
    "a grid of grids": (lambda: heif([grid(64, 64, 1, [2]), grid(64, 64, 1, [3]), av1()]), "grid of tiles"),
    "a grid of itself": (lambda: heif([grid(64, 64, 1, [1])]), "grid of tiles"),
}


@pytest.mark.parametrize("name", list(STRUCTURES))
def test_a_structure_that_costs_too_much_is_refused_at_once(name: str) -> None:
    make, word = STRUCTURES[name]
    data = make()
    start = time.thread_time()
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError, match=word):
            open_image(data, DecodeLimits())
        assert tracemalloc.get_traced_memory()[1] < 30_000_000 + len(data)
    finally:
        tracemalloc.stop()
    assert time.thread_time() - start < 5, "seconds; a tenth of that without tracing"


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_limited_from_the_header(kind: bytes) -> None:
    for item in (sized(coded(kind, FLAT), 6400, 6400), grid(6400, 6400, 1, [2])):
        with pytest.raises((TooManyPixels, ServiceError)):
            open_image(heif([item, coded(kind, FLAT)]), DecodeLimits())
    with pytest.raises(TooManyPixels):
        open_image(heif([sized(coded(kind, FLAT), 6400, 6400)]), DecodeLimits())


def hevc_unit(kind: int, content: bytes) -> bytes:
    return struct.pack(">IBB", 2 + len(content), kind << 1, 1) + content


@pytest.mark.parametrize("kind", KINDS)
def test_coded_data_larger_than_the_file_says_is_refused_before_it_is_decoded(kind: bytes) -> None:
    large = coded(kind, np.full((2048, 2048, 3), 128, np.uint8))
    for width, height in ((16, 16), (2047, 2048), (2048, 4096)):
        with pytest.raises(ServiceError, match="another size"):
            decode(heif([sized(large, width, height)]), DecodeLimits())


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_with_a_side_that_decoders_refuse_is_refused(kind: bytes) -> None:
    with pytest.raises(ServiceError, match="sides"):
        decode(heif([sized(coded(kind, FLAT), 40_000, 500)]), DecodeLimits())


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_frame_in_the_data_is_refused(kind: bytes) -> None:
    item = coded(kind, FLAT)
    for count in (2, 400):
        with pytest.raises(ServiceError, match="single frame"):
            decode(heif([replace(item, data=item.data * count)]), DecodeLimits())


def test_a_frame_among_the_parameters_is_counted() -> None:
    item = coded(b"hvc1", FLAT)
    configuration = content_of(heif([item]), b"hvcC")
    slice_ = item.data[4:]
    arrays = b"\x13" + struct.pack(">HH", 1, len(slice_)) + slice_
    grown = configuration[:22] + bytes([configuration[22] + 1]) + configuration[23:] + arrays
    with pytest.raises(ServiceError, match="single frame"):
        decode(heif([replace(item, properties=[item.properties[0], (b"hvcC", grown)])]), DecodeLimits())


def test_units_and_slices_are_limited() -> None:
    first, second = av1(), hevc()
    later = hevc_unit(1, b"\0" + bytes(20))
    for item, more, word in (
        (first, b"\x7a\0" * 1_000_000, "units"),
        (second, hevc_unit(39, b"\0") * 1_000_000, "units"),
        (second, later * 32, "slices"),
    ):
        start = time.thread_time()
        with pytest.raises(ServiceError, match=word):
            decode(heif([replace(item, data=item.data + more)]), DecodeLimits())
        assert time.thread_time() - start < 5


def bits(*fields: tuple[int, int]) -> bytes:
    """Return bytes of numbers that take so many bits each."""
    text = "".join(format(value, f"0{count}b") for value, count in fields)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def av1_unit(kind: int, content: bytes) -> bytes:
    return bytes([kind << 3 | 2, len(content)]) + content


@pytest.mark.parametrize(("width_bits", "accepted"), [(6, True), (7, True), (8, False), (16, False)])
def test_a_frame_that_may_be_larger_than_the_sequence_is_refused(width_bits: int, accepted: bool) -> None:
    """Only the header of a still picture says that its frame has the size of the sequence."""
    points = [(0, 12), (9, 5), (0, 1)]
    sizes = [(width_bits - 1, 4), (5, 4), (63, width_bits), (63, 6)]
    sequence = bits((0, 3), (0, 1), (0, 1), (0, 1), (1, 1), (0, 5), *points, (1, 1), (5, 4), *sizes)
    data = av1_unit(1, sequence) + av1_unit(6, b"x")
    if accepted:
        check_av1(data, 64, 64)
    else:
        with pytest.raises(UnsupportedMode, match="size of the picture"):
            check_av1(data, 64, 64)


@pytest.mark.parametrize("kind", [1, 3, 6, 7, 8, 15])
def test_units_that_are_cut_off_are_damage(kind: int) -> None:
    unit = av1_unit(kind, bytes(100))
    for end in range(1, len(unit)):
        with pytest.raises(UndecodableImage):
            check_av1(unit[:end], 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1024, 64), (36, 1024)])
def test_what_is_accepted_costs_a_bounded_time(kind: bytes, shape: tuple[int, int]) -> None:
    count, side = shape
    tile = coded(kind, np.full((side, side, 3), 128, np.uint8))
    rows = 32 if count == 1024 else 6
    data = heif([grid(side * count // rows, side * rows, count // rows, [2] * count), tile])
    assert len(data) < 20_000
    start = time.thread_time()
    image = open_image(data, DecodeLimits())
    image.decode()
    assert time.thread_time() - start < 5 + 0.4 * image.header.pixels / 1e6
