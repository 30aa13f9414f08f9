"""AVIF and HEIC against the files' own samples, and against Pillow and pillow-heif, which read the boxes on their own."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD, Base

from service.errors import UnsupportedMode
from service.imaging.codec import decode, open_image, sniff
from service.imaging.picture import DecodeLimits, Picture
from tests.support.heif_files import ALPHA, Item, avif, box, by_another, coded, film, grid, heic, heif

Array = NDArray[Any]
KINDS = (b"av01", b"hvc1")
LIMITS = DecodeLimits()
SRGB = struct.pack(">4sHHHB", b"nclx", 1, 13, 6, 0x80)


def smooth(height: int, width: int, channels: int = 3, seed: int = 0) -> Array:
    """A picture that lossy compression hardly changes."""
    rows, columns = np.mgrid[0:height, 0:width] / 40
    phases = np.random.default_rng(seed).uniform(0, 6, (channels, 2))
    waves = [0.5 + 0.2 * np.sin(rows + first) + 0.2 * np.cos(columns + second) for first, second in phases]
    samples: Array = np.rint(255 * np.stack(waves, axis=-1)).astype(np.uint8)
    return samples


def levels(picture: Picture, white: int = 255) -> Array:
    return np.asarray(picture.planes.transpose(1, 2, 0) * white)


def error(found: Array, wanted: Array) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found.astype(float) - wanted.astype(float)).max())


@pytest.mark.parametrize("make", [avif, heic])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_eight_bits(make: Any, channels: int) -> None:
    samples = smooth(50, 70, channels)
    picture = decode(make(samples if channels > 1 else samples[..., 0]), LIMITS)
    assert (picture.depth, picture.rgb, picture.conversions) == ("8", channels > 1, ())
    assert picture.format == ("avif" if make is avif else "png" if channels == 4 else "jpeg")
    assert error(levels(picture), samples[..., : min(channels, 3)]) <= 6
    assert (picture.alpha is not None) == (channels == 4)
    if picture.alpha is not None:
        assert error(picture.alpha * 255, samples[..., 3]) <= 6


def test_ten_and_twelve_bits_of_avif_become_sixteen() -> None:
    import imagecodecs

    samples = smooth(48, 64).astype(np.uint16)
    for bits in (10, 12):
        deep = samples << (bits - 8) | samples >> (16 - bits)
        deep[:, :8] = (1 << bits) - 1
        file = bytes(imagecodecs.avif_encode(deep, level=100, speed=10, bitspersample=bits, numthreads=1))
        picture = decode(file, LIMITS)
        assert (picture.depth, picture.planes.max()) == ("16", 1.0), "white stays white"
        assert error(levels(picture, (1 << bits) - 1), deep) <= 0.1
        assert np.count_nonzero(np.rint(levels(picture, 65535)) % 257) > 0.5 * deep.size, "levels between those of 8 bits"


def test_ten_bits_of_heic_become_sixteen() -> None:
    samples = smooth(48, 64).astype(np.uint16) * 257 + 64
    picture = decode(heic(samples, quality=-1), LIMITS)
    assert picture.depth == "16"
    assert error(levels(picture, 65535), samples) <= 2 * 65535 / 1023
    assert open_image(heic(samples), LIMITS).header.output_format == "jpeg"


@pytest.mark.parametrize("kind", KINDS)
def test_a_grid_is_put_together(kind: bytes) -> None:
    whole = smooth(150, 200)
    stored = np.pad(whole, ((0, 42), (0, 56), (0, 0)), "edge")
    tiles = [coded(kind, stored[top : top + 64, left : left + 128]) for top in (0, 64, 128) for left in (0, 128)]
    file = heif([grid(200, 150, 2, range(2, 8), (b"colr", SRGB)), *tiles])
    picture = decode(file, LIMITS)
    assert error(levels(picture), whole) <= 6
    assert error(levels(picture), by_another(file)) <= 1.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_alpha_of_a_grid_may_be_a_grid_or_an_image(kind: bytes) -> None:
    whole, alpha = smooth(128, 64), smooth(128, 64, 1, seed=3)
    tiles = [coded(kind, whole[:64]), coded(kind, whole[64:])]
    owner = (b"auxl", [1])
    parts = [coded(kind, alpha[:64, :, 0]), coded(kind, alpha[64:, :, 0])]
    mask = grid(64, 128, 1, [5, 6], (b"auxC", bytes(4) + ALPHA[kind]))
    for more in (
        [Item(mask.kind, mask.properties, mask.data, [*mask.references, owner], in_meta=True), *parts],
        [alpha_item(kind, alpha[..., 0], owner)],
    ):
        picture = decode(heif([grid(64, 128, 1, [2, 3]), *tiles, *more]), LIMITS)
        assert picture.alpha is not None
        assert error(picture.alpha * 255, alpha[..., 0]) <= 6
        assert error(levels(picture), whole) <= 6


def alpha_item(kind: bytes, samples: Array, *references: tuple[bytes, list[int]]) -> Item:
    item = coded(kind, samples, (b"auxC", bytes(4) + ALPHA[kind]))
    return Item(item.kind, item.properties, item.data, references)


@pytest.mark.parametrize("kind", KINDS)
def test_premultiplied_colors_are_divided_by_alpha(kind: bytes) -> None:
    color, alpha = smooth(64, 64), np.full((64, 64), 128, np.uint8)
    alpha[:, :16] = 0
    multiplied = np.rint(color * (alpha[..., None] / 255)).astype(np.uint8)
    item = coded(kind, multiplied)
    picture = decode(
        heif([Item(item.kind, item.properties, item.data, [(b"prem", [2])]), alpha_item(kind, alpha, (b"auxl", [1]))]), LIMITS
    )
    assert picture.conversions == ("was-premultiplied",)
    assert error(levels(picture)[:, 24:], color[:, 24:]) <= 12
    assert picture.planes.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("angle", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_it_is_rotated_and_mirrored_once(kind: bytes, angle: int, axis: int | None) -> None:
    turns = [(b"irot", bytes([angle])), *([] if axis is None else [(b"imir", bytes([axis]))])]
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make] = 6, "Camera"  # which means nothing in these formats
    block = Item(b"Exif", [], bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0"), [(b"cdsc", [1])])
    file = heif([coded(kind, smooth(64, 80), *turns), block])
    picture = decode(file, LIMITS)
    assert error(levels(picture), by_another(file)) <= 1.01
    written = Image.Exif()
    written.load(picture.metadata.exif)
    assert (written[Base.Orientation], written[Base.Make]) == (1, "Camera")


def aperture(*numbers: int) -> tuple[bytes, bytes]:
    return b"clap", struct.pack(">IIIIiIiI", *numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_cropped(kind: bytes) -> None:
    samples = smooth(64, 80)
    for numbers, rows, columns in (
        ((60, 1, 41, 1, -10, 1, -7, 2), slice(8, 49), slice(0, 60)),
        ((78, 1, 64, 1, 1, 1, 0, 1), slice(0, 64), slice(2, 80)),
    ):
        picture = decode(heif([coded(kind, samples, aperture(*numbers))]), LIMITS)
        assert error(levels(picture), samples[rows, columns]) <= 6
    turned = decode(heif([coded(kind, samples, aperture(60, 1, 40, 1, 10, 1, 12, 1), (b"irot", b"\1"))]), LIMITS)
    assert error(levels(turned), np.rot90(samples[24:64, 20:80])) <= 6
    with pytest.raises(UnsupportedMode, match="whole pixels"):
        decode(heif([coded(kind, samples, aperture(60, 1, 41, 1, 0, 1, 0, 1))]), LIMITS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_the_picture_is_left_out(kind: bytes) -> None:
    """A thumbnail, a depth map, a gain map and another picture; broken ones, so that nothing may touch them."""
    junk = Item(kind, [(b"ispe", struct.pack(">III", 0, 1 << 30, 1 << 30))], b"junk")
    others = [
        Item(kind, [*junk.properties, (b"auxC", bytes(4) + b"urn:mpeg:hevc:2015:auxid:2\0")], b"junk", [(b"auxl", [2])]),
        coded(kind, smooth(64, 72)),
        Item(kind, junk.properties, b"junk", [(b"thmb", [2])]),
        Item(kind, junk.properties, b"junk"),
        Item(b"mime", [], b"<exif:GPSLatitude>52</exif:GPSLatitude>", [(b"cdsc", [2])]),
    ]
    picture = decode(heif(others, primary=2, after=box(b"mpvd", b"film")), LIMITS)
    assert picture.planes.shape == (3, 64, 72)


@pytest.mark.parametrize("make", [avif, heic])
def test_metadata(make: Any) -> None:
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    exif.get_ifd(IFD.GPSInfo).update({1: "N"})
    exif[IFD.GPSInfo] = exif.get_ifd(IFD.GPSInfo)
    profile = b"\0" * 16 + b"RGB " + b"x" * 200
    item = coded(b"av01" if make is avif else b"hvc1", smooth(64, 64), (b"colr", b"prof" + profile))
    for prefix in (b"", b"Exif\0\0"):
        block = exif.tobytes().removeprefix(b"Exif\0\0")
        data = struct.pack(">I", len(prefix)) + prefix + block
        picture = decode(heif([item, Item(b"Exif", [], data, [(b"cdsc", [1])])]), LIMITS)
        written = Image.Exif()
        written.load(picture.metadata.exif)
        assert written[Base.Make] == "Camera"
        assert written.get_ifd(IFD.GPSInfo) == {1: "N"}
        assert picture.metadata.icc == profile
        assert picture.conversions == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("primaries", "transfer", "profile", "warned"),
    [(1, 13, False, False), (2, 2, False, False), (12, 13, False, True), (9, 16, False, True), (9, 18, True, False)],
)
def test_colors_that_are_named_by_numbers(kind: bytes, primaries: int, transfer: int, profile: bool, warned: bool) -> None:
    colors = [(b"colr", struct.pack(">4sHHHB", b"nclx", primaries, transfer, 6, 0x80))]
    colors += [(b"colr", b"prof" + b"\0" * 16 + b"RGB ")] if profile else []
    picture = decode(heif([coded(kind, smooth(64, 64), *colors)]), LIMITS)
    assert picture.conversions == (("unlabeled-colors",) if warned else ())


def test_the_brands_tell_the_formats_apart() -> None:
    for brand, others, name in (
        (b"mif1", b"avif", "avif"),
        (b"mif1", b"heic", "heic"),
        (b"heix", b"mif1", "heic"),
        (b"avis", b"msf1", "avif"),
        (b"crx ", b"isom", None),
        (b"isom", b"mp42", None),
    ):
        assert sniff(box(b"ftyp", brand, bytes(4), others)) == name


def test_a_picture_coded_like_a_film_is_read() -> None:
    """Its sequence header is not that of a still picture."""
    assert decode(film().replace(b"moov", b"free"), LIMITS).planes.shape == (3, 8, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_what_would_be_shown_wrongly_is_refused(kind: bytes) -> None:
    item, small = coded(kind, smooth(64, 64)), smooth(64, 72, 1)[..., 0]
    refused = {
        "not to its tiles": [grid(64, 64, 1, [2]), item, alpha_item(kind, small, (b"auxl", [2]))],
        "size of the picture": [item, alpha_item(kind, small, (b"auxl", [1]))],
        "feature": [coded(kind, smooth(64, 64), (b"lsel", bytes(2)))],
        "rotated": [grid(64, 64, 1, [2]), coded(kind, smooth(64, 64), (b"irot", b"\1"))],
        "coded with": [Item(b"jpeg", item.properties, item.data)],
    }
    for word, items in refused.items():
        with pytest.raises(UnsupportedMode, match=word):
            open_image(heif(items), LIMITS)
