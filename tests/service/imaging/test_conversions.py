"""What is converted rather than refused: CMYK in JPEG, alpha that was multiplied into TIFF, and JPEG inside TIFF."""

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.color import lab2xyz, xyz2rgb
from skimage.color.colorconv import xyz_from_rgb

from service.errors import ServiceError, UndecodableImage, UnsupportedMode
from service.imaging.cmyk import srgb_profile
from service.imaging.codec import decode, encode, open_image
from service.imaging.picture import DecodeLimits
from tests.support.cmyk_profile import INKS, cmyk_profile, mixture

Array = NDArray[Any]
LIMITS = DecodeLimits()
# From XYZ under D50 to linear sRGB (Lindbloom)
FROM_D50 = np.array([[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.033454], [0.0719453, -0.2289914, 1.4052427]])
PATCHES = np.repeat(np.repeat(np.array(INKS, np.uint8).reshape(4, 4, 4), 16, 0), 16, 1)


def cmyk(profile: bytes = b"", samples: Array = PATCHES) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples, "CMYK").save(buffer, "JPEG", quality=100, subsampling=0, icc_profile=profile)
    return buffer.getvalue()


def levels(file: bytes) -> Array:
    return np.asarray(decode(file, LIMITS).planes.transpose(1, 2, 0) * 255)


def patches(file: bytes) -> Array:
    """(16, 3): the colors in the middles of the patches."""
    return levels(file)[8::16, 8::16].reshape(16, 3)


def srgb(lab: Array) -> Array:
    """(N, 3) on the 0-255 scale: L*, a* and b* under D50, adapted to the white of sRGB by Bradford's method."""
    linear = lab2xyz(lab, illuminant="D50") @ FROM_D50.T
    return np.asarray(255 * xyz2rgb(np.clip(linear, 0, 1) @ xyz_from_rgb.T))


def without_adobe_marker(file: bytes) -> bytes:
    start = file.index(b"\xff\xee\0\x0eAdobe")
    return file[:start] + file[start + 16 :]


def test_cmyk_is_converted_by_its_profile() -> None:
    file = cmyk(cmyk_profile())
    picture = decode(file, LIMITS)
    assert (picture.conversions, picture.rgb, picture.metadata.icc) == (("was-cmyk",), True, srgb_profile())
    wanted = srgb(np.array([mixture(inks) for inks in INKS], float))
    assert np.abs(patches(file) - wanted).max() <= 3
    written = Image.open(io.BytesIO(encode(picture)))
    assert (written.mode, written.info["icc_profile"]) == ("RGB", srgb_profile())


BROKEN = cmyk_profile()[:500]
FOR_RGB = cmyk_profile().replace(b"CMYK", b"RGB ", 1)
PROGRAM = cmyk_profile(elements=20)  # each costs 2 ms, and a megabyte has room for 100,000


@pytest.mark.parametrize("profile", [b"", BROKEN, FOR_RGB, PROGRAM, b"x" * 100, b"x" * 16 + b"CMYK" + bytes([255] * 200)])
def test_cmyk_without_a_usable_profile_is_converted_by_a_formula(profile: bytes) -> None:
    picture = decode(cmyk(profile), LIMITS)
    assert picture.conversions == ("guessed-cmyk",)
    assert picture.metadata.icc == srgb_profile()
    ink = PATCHES / 255
    wanted = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    assert np.abs(levels(cmyk(profile)) - wanted).max() <= 3


def test_ycck_is_cmyk() -> None:
    inverted = np.ascontiguousarray(255 - PATCHES)  # as Adobe's programs store it
    file = bytes(imagecodecs.jpeg8_encode(inverted, level=100, colorspace="CMYK", outcolorspace="YCCK", subsampling="444"))
    assert np.abs(patches(file) - patches(cmyk())).max() <= 4


def test_cmyk_that_does_not_say_what_zero_means_is_refused() -> None:
    with pytest.raises(UnsupportedMode, match="Adobe"):
        open_image(without_adobe_marker(cmyk()), LIMITS)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_cut_cmyk_is_refused(share: float) -> None:
    file = cmyk(samples=np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8))
    with pytest.raises(UndecodableImage):
        decode(file[: int(share * len(file))], LIMITS)
    with pytest.raises(UndecodableImage):
        decode(file[: int(share * len(file))].rstrip(b"\xff") + b"\xff\xd9", LIMITS)


def tiff(samples: Array, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_premultiplied_alpha_is_divided_out(dtype: Any, channels: int) -> None:
    white = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    straight = np.random.default_rng(0).uniform(0, white, (20, 30, channels))
    alpha = np.broadcast_to(np.linspace(0, white, 30)[None, :, None], (20, 30, 1))
    stored = np.concatenate([straight * alpha / white, alpha], axis=2)
    stored = stored.astype(dtype) if dtype == np.float32 else np.rint(stored).astype(dtype)
    file = tiff(stored, photometric="rgb" if channels == 3 else "minisblack", planarconfig="contig", extrasamples=[1])
    picture = decode(file, LIMITS)
    assert picture.conversions == ("was-premultiplied",)
    assert picture.alpha is not None
    assert np.allclose(picture.alpha * white, stored[..., -1])
    error = np.abs(picture.planes.transpose(1, 2, 0) * white - straight)
    rounding = 0.0 if dtype == np.float32 else 1.01  # of the color and of alpha
    assert (error <= rounding * white / np.maximum(stored[..., -1:], 1e-9) + 1e-3 * white)[:, 1:].all()
    assert not picture.planes[:, :, 0].any(), "where alpha is 0, there is no color"
    with tifffile.TiffFile(io.BytesIO(encode(picture))) as opened:
        assert [int(kind) for kind in opened.pages[0].extrasamples] == [2], "the result has straight alpha"


def test_colors_that_nobody_sees_are_not_divided_by_their_alpha() -> None:
    stored = np.full((4, 4, 2), 0.5, np.float32)
    stored[1, 1, 1], stored[2, 2, 1], stored[3, 3, 1] = 1e-40, 1e-7, 1e-5
    picture = decode(tiff(stored, photometric="minisblack", planarconfig="contig", extrasamples=[1]), LIMITS)
    assert (picture.planes[0, 1, 1], picture.planes[0, 2, 2]) == (0.5, 0.5)
    assert picture.planes[0, 3, 3] == pytest.approx(5e4)


@pytest.mark.parametrize("color", [-2e38, 3.4028235e38, 1e35])
def test_floats_that_may_overflow_are_refused(color: float) -> None:
    stored = np.full((4, 4, 2), 0.5, np.float32)
    stored[1, 1] = color, 1e-5
    for array, kind in ((stored, {"extrasamples": [1]}), (np.full((4, 4), 1e4 * color, np.float64).clip(-3e38, 3e38), {})):
        file = tiff(array.astype(np.float32), photometric="minisblack", planarconfig="contig" if kind else None, **kind)
        with pytest.raises(UndecodableImage, match="beyond ±1e\\+38"):
            decode(file, LIMITS)


def test_only_integers_are_clipped_at_white() -> None:
    for dtype, most in ((np.uint8, 1.0), (np.float32, 2.0)):
        stored = np.full((4, 4, 2), 100 if dtype == np.uint8 else 0.5, dtype)
        stored[..., 1] //= 2 if dtype == np.uint8 else 1
        stored[..., 1] = 50 if dtype == np.uint8 else 0.25
        file = tiff(stored, photometric="minisblack", planarconfig="contig", extrasamples=[1])
        assert decode(file, LIMITS).planes.max() == most


def test_white_is_zero_with_alpha_is_refused() -> None:
    file = tiff(np.zeros((4, 4, 2), np.uint8), photometric="miniswhite", planarconfig="contig", extrasamples=[2])
    with pytest.raises(UnsupportedMode, match="alpha"):
        open_image(file, LIMITS)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("layout", [{"tile": (32, 48)}, {"rowsperstrip": 16}])
def test_jpeg_inside_tiff(subsampling: tuple[int, int], layout: dict[str, Any]) -> None:
    rows, columns = np.mgrid[0:70, 0:90]
    samples = np.stack([rows * 3, columns * 2, 128 + 60 * np.sin(rows / 9)], axis=-1).astype(np.uint8)
    stored = np.asarray(Image.fromarray(samples).convert("YCbCr"))
    file = tiff(stored, compression="jpeg", photometric="ycbcr", subsampling=subsampling, **layout)
    picture = decode(file, LIMITS)
    assert (picture.rgb, picture.conversions) == (True, ())
    by_libtiff = np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(float)
    assert np.abs(levels(file) - by_libtiff).max() <= 6
    assert np.abs(levels(file) - samples).mean() < 4


def test_old_jpeg_inside_tiff_is_refused() -> None:
    file = bytearray(tiff(np.zeros((16, 16, 3), np.uint8), compression="jpeg", photometric="ycbcr", byteorder="<"))
    start = file.index(struct.pack("<HHIH", 259, 3, 1, 7))
    struct.pack_into("<H", file, start + 8, 6)
    with pytest.raises(UnsupportedMode, match="JPEG"):
        open_image(bytes(file), LIMITS)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cut_jpeg_inside_tiff_is_refused(share: float) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    file = tiff(samples, compression="jpeg", photometric="ycbcr", tile=(32, 32))
    with pytest.raises(ServiceError):
        decode(file[: int(share * len(file))], LIMITS)
