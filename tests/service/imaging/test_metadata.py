"""What travels beside the pixels, read back by Pillow and tifffile alone."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from service.imaging.codec import decode, encode, to_gray
from service.imaging.metadata import Keep, prepared
from service.imaging.picture import DecodeLimits, Depth, Format, Picture

SOFTWARE = "n3denoise model=n3net sigma=25.0 weights=0123abcd"
COLOR = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photo(kind: Format) -> bytes:
    """A file with everything in it: a place, an orientation, a profile, a resolution, a maker note, a thumbnail's size."""
    samples = np.random.default_rng(3).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Artist], exif[Base.Orientation] = "Camera", "Someone", 6
    exif.get_ifd(IFD.Exif).update(
        {0x829A: IFDRational(1, 250), 0x9003: "2026:01:02 03:04:05", 0xA002: 10, 0xA003: 6, 0x927C: b"x" * 9}
    )
    exif.get_ifd(IFD.GPSInfo).update({GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (52.0, 30.0, 1.5)})
    for tag in (IFD.Exif, IFD.GPSInfo):  # Pillow's TIFF writer asks for them as entries
        exif[tag] = exif.get_ifd(tag)
    options: dict[str, Any] = {"lossless": True} if kind == "webp" else {"dpi": (300, 300)}
    if kind == "png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("XML:com.adobe.xmp", "<exif:GPSLatitude>52</exif:GPSLatitude>")
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, kind.upper(), exif=exif, icc_profile=COLOR, **options)
    return buffer.getvalue()


def written(kind: Format, keep: Keep, depth: Depth | None = None, gray: bool = False) -> tuple[bytes, Image.Image]:
    picture = decode(photo(kind), DecodeLimits())
    picture = to_gray(picture) if gray else picture
    file = encode(
        Picture(picture.planes, picture.rgb, None, kind, picture.depth, prepared(picture.metadata, keep, SOFTWARE)), depth=depth
    )
    return file, Image.open(io.BytesIO(file))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff"])
def test_by_default_all_but_the_place_is_kept(kind: Format) -> None:
    file, image = written(kind, "no-gps")
    exif = image.getexif()
    assert (exif[Base.Make], exif[Base.Artist]) == ("Camera", "Someone")
    assert exif.get(Base.Orientation, 1) == 1
    assert exif.get(Base.Software, image.info.get("Software")) == SOFTWARE
    inner = exif.get_ifd(IFD.Exif)
    assert inner[0x829A] == IFDRational(1, 250)
    assert inner[0x9003] == "2026:01:02 03:04:05"
    assert (inner[0xA002], inner[0xA003]) == image.size == (6, 10), "turned once, and the EXIF size with it"
    assert 0x927C not in inner
    assert not exif.get_ifd(IFD.GPSInfo)
    assert b"GPSLatitude" not in file
    assert image.info["icc_profile"] == COLOR
    if kind not in ("webp", "avif"):
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff"])
def test_the_place_stays_when_asked_for(kind: Format) -> None:
    _, image = written(kind, "keep")
    place = image.getexif().get_ifd(IFD.GPSInfo)
    assert place[GPS.GPSLatitudeRef] == "N"
    assert [float(part) for part in place[GPS.GPSLatitude]] == [52.0, 30.0, 1.5]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff"])
def test_strip_leaves_nothing(kind: Format) -> None:
    file, image = written(kind, "strip")
    exif = image.getexif()
    assert not {Base.Make, Base.Artist, Base.Software, Base.Orientation} & set(exif)
    assert not exif.get_ifd(IFD.Exif)
    assert not exif.get_ifd(IFD.GPSInfo)
    assert not image.info.get("icc_profile")
    assert image.info.get("dpi", (72, 72)) != (300, 300)
    assert b"Camera" not in file
    assert image.size == (6, 10), "the orientation is pixels now, so that it cannot be lost"


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_keep_theirs_too(kind: Format) -> None:
    file, image = written(kind, "no-gps", "16")
    assert image.getexif()[Base.Make] == "Camera"
    assert image.info["icc_profile"] == COLOR
    back = decode(file, DecodeLimits())
    assert back.depth == "16"
    assert back.metadata.exif == decode(written(kind, "no-gps")[0], DecodeLimits()).metadata.exif


@pytest.mark.parametrize("kind", ["png", "jpeg", "avif", "tiff"])
def test_a_color_profile_does_not_stay_on_gray(kind: Format) -> None:
    _, image = written(kind, "keep", gray=True)
    assert image.mode == "L"
    assert "icc_profile" not in image.info


def test_software_is_a_text_chunk_in_png_and_a_tag_in_tiff() -> None:
    assert written("png", "no-gps")[1].info["Software"] == SOFTWARE
    with tifffile.TiffFile(io.BytesIO(written("tiff", "no-gps")[0])) as file:
        assert file.pages[0].tags["Software"].value == SOFTWARE


def test_writing_again_changes_nothing() -> None:
    once = decode(written("jpeg", "keep")[0], DecodeLimits()).metadata
    assert prepared(once, "keep", SOFTWARE).exif == once.exif


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"no EXIF"]
)
def test_damaged_exif_is_no_reason_to_refuse_pixels(block: bytes) -> None:
    samples = np.full((4, 5), 99, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "JPEG", exif=block)
    picture = decode(buffer.getvalue(), DecodeLimits())
    assert picture.planes.shape == (1, 4, 5)
    assert np.allclose(picture.planes * 255, 99, atol=1)


def test_more_exif_than_a_jpeg_holds_is_cut_to_the_first_directory() -> None:
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    exif.get_ifd(IFD.Exif)[0x9286] = b"ASCII\0\0\0" + b"x" * 70000
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(buffer, "PNG", exif=exif)
    picture = decode(buffer.getvalue(), DecodeLimits())
    image = Image.open(io.BytesIO(encode(picture, "jpeg")))
    assert image.getexif()[Base.Make] == "Camera"


@pytest.mark.parametrize("number", [("d", 3.5), ("f", 3.5), ("2I", (7, 2))])
def test_a_number_in_place_of_a_text_is_left_out(number: tuple[str, Any]) -> None:
    buffer = io.BytesIO()
    kind, value = number
    tags = [(Base.Software, kind, 1, value, True), (Base.Artist, "s", 0, "Someone", True)]
    tifffile.imwrite(buffer, np.zeros((4, 5), np.uint8), metadata=None, software=False, extratags=tags)
    exif = Image.Exif()
    exif.load(decode(buffer.getvalue(), DecodeLimits()).metadata.exif)
    assert exif[Base.Artist] == "Someone"
    assert Base.Software not in exif
