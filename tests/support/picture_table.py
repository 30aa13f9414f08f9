"""Files of every kind and what is in them, for `test_pictures`; Pillow, pillow-heif, tifffile and imagecodecs write them."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from PIL.ExifTags import Base

from tests.support.heif_files import heic

Array = NDArray[Any]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def levels(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> Array:
    """Random samples away from black and white, so that nothing clips."""
    high = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    return (np.random.default_rng(seed).uniform(0.3 * high, 0.7 * high, shape)).astype(dtype)


WITHOUT_LOSS: dict[str, dict[str, Any]] = {
    "webp": {"lossless": True, "exact": True},
    "jpeg": {"quality": 100},
    "avif": {"quality": 100, "subsampling": "4:4:4", "speed": 10, "max_threads": 1},
}
LOSSY = ("jpeg", "avif")


def pil(samples: Array, kind: str, mode: str = "", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(samples)
    (image.convert(mode) if mode else image).save(buffer, kind, **(WITHOUT_LOSS.get(kind, {}) | options))
    return buffer.getvalue()


def tiff(samples: Array, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


def png16(samples: Array) -> bytes:
    return bytes(imagecodecs.png_encode(samples))


@dataclass(frozen=True)
class Row:
    """One file, and what is in it.

    Attributes:
        samples: (H, W, C) as a viewer shows it: upright, palette looked up, alpha apart.
        alpha: (H, W), or None.
        rgb: Whether the samples are red, green and blue.
        check: What else has to hold of the picture that comes back.
    """

    name: str
    file: bytes
    samples: Array
    alpha: Array | None = None
    rgb: bool = False
    check: Callable[[Image.Image], None] = lambda _: None


def oriented(orientation: int, kind: str) -> Row:
    """A picture that is stored lying down or mirrored, and says so."""
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    file = pil(levels(7, 11, 3, seed=orientation), kind, exif=exif.tobytes())
    stored = pil(decoded(file) if kind in LOSSY else levels(7, 11, 3, seed=orientation), "png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(stored))))

    def check(image: Image.Image) -> None:
        assert image.getexif().get(Base.Orientation, 1) == 1, "applied once, and not once more by the next viewer"

    return Row(f"{kind}, orientation {orientation}", file, upright, rgb=True, check=check)


def decoded(file: bytes) -> Array:
    """Samples as Pillow reads them."""
    return np.asarray(Image.open(io.BytesIO(file)))


def with_icc(image: Image.Image) -> None:
    assert image.info["icc_profile"] == PROFILE


def rows() -> Iterator[Row]:
    for orientation in range(1, 9):
        for kind in ("png", "tiff", "webp", "jpeg", "avif"):
            yield oriented(orientation, kind)
    gray, color, alpha = levels(9, 12), levels(9, 12, 3), levels(9, 12, seed=4)
    alpha[:, :3], alpha[:, -2:] = 0, 255
    deep, deep_color = levels(9, 12, dtype=np.uint16), levels(9, 12, 3, dtype=np.uint16)
    real, real_color = levels(9, 12, dtype=np.float32), levels(9, 12, 3, dtype=np.float32)
    for kind in ("png", "tiff", "webp", "jpeg", "avif"):
        file = pil(color, kind, icc_profile=PROFILE)
        yield Row(f"{kind}, ICC", file, decoded(file) if kind in LOSSY else color, rgb=True, check=with_icc)
    for kind in ("png", "webp", "tiff"):
        yield Row(f"{kind}, RGBA", pil(np.dstack([color, alpha]), kind), color, alpha, rgb=True)
    yield Row("png, gray and alpha", pil(np.dstack([gray, alpha]), "png"), gray[..., None], alpha)
    yield Row("tiff, gray and alpha", pil(np.dstack([gray, alpha]), "tiff"), gray[..., None], alpha)
    deep_alpha = alpha.astype(np.uint16) * 257
    deep_rgba = np.dstack([deep_color, deep_alpha])
    file = tiff(deep_rgba, photometric="rgb", extrasamples=[2])
    yield Row("tiff, RGBA of 16 bits", file, deep_color, deep_alpha, rgb=True)
    yield Row("png, gray and alpha of 16 bits", png16(np.dstack([deep, deep_alpha])), deep[..., None], deep_alpha)
    yield Row("png, RGBA of 16 bits", png16(deep_rgba), deep_color, deep_alpha, rgb=True)
    palette = Image.fromarray(color).quantize(16)
    looked_up = np.asarray(palette.convert("RGB"))
    for kind in ("png", "tiff", "bmp"):
        buffer = io.BytesIO()
        palette.save(buffer, kind)
        yield Row(f"{kind}, palette", buffer.getvalue(), looked_up, rgb=True)
    buffer = io.BytesIO()
    palette.save(buffer, "png", transparency=3)
    yield Row(
        "png, palette with a transparent entry",
        buffer.getvalue(),
        looked_up,
        np.where(np.asarray(palette) == 3, 0, 255),
        rgb=True,
    )
    keyed = color.copy()
    keyed[2:4] = (100, 110, 120)
    key = np.full((9, 12), 255, np.uint8)
    key[2:4] = 0
    yield Row("png, color key", pil(keyed, "png", transparency=(100, 110, 120)), keyed, key, rgb=True)
    yield Row("png, 2-bit gray", two_bit_gray(), TWO_BIT[..., None])
    yield Row("png, 2-bit gray, color key", two_bit_gray(key=2), TWO_BIT[..., None], np.where(TWO_BIT == 2 * 85, 0, 255))
    yield Row("bmp, gray", pil(gray, "bmp"), gray[..., None])
    yield Row("webp, gray comes back as three equal channels", pil(gray, "webp"), np.dstack([gray] * 3), rgb=True)
    yield Row("png, gray of 16 bits", pil(deep, "png"), deep[..., None])
    yield Row("png, RGB of 16 bits", png16(deep_color), deep_color, rgb=True)
    for order in "<>":
        yield Row(f"tiff, 16 bits {order}", tiff(deep, byteorder=order), deep[..., None])
        yield Row(f"tiff, RGB of 16 bits {order}", tiff(deep_color, byteorder=order, photometric="rgb"), deep_color, rgb=True)
        yield Row(f"tiff, float {order}", tiff(real, byteorder=order), real[..., None])
    yield Row("tiff, I;16B as Pillow writes it", pil(deep.astype(">u2"), "tiff"), deep[..., None])
    yield Row("tiff, RGB of floats", tiff(real_color, photometric="rgb"), real_color, rgb=True)
    yield Row("tiff, floats a little outside", tiff(real * 3 - 1), (real * 3 - 1)[..., None])
    two = levels(9, 12) > 127
    for kind in ("png", "bmp"):
        yield Row(f"{kind}, two levels", pil(two, kind), (two * 255).astype(np.uint8)[..., None])
    file = pil(two, "png", transparency=1)
    yield Row("png, two levels, white is transparent", file, (two * 255).astype(np.uint8)[..., None], np.where(two, 0, 255))
    yield from scanned(gray, color, two)
    for name in ("lzw", "deflate", "zstd", "packbits"):
        yield Row(f"tiff, {name}", tiff(deep, compression=name), deep[..., None])
    yield Row(
        "tiff, LZW with predictor", tiff(deep_color, compression="lzw", predictor=True, photometric="rgb"), deep_color, rgb=True
    )
    yield Row("tiff, floats with predictor", tiff(real, compression="deflate", predictor=3), real[..., None])
    yield Row("tiff, tiled", tiff(levels(40, 50), tile=(16, 32)), levels(40, 50)[..., None])
    yield Row("tiff, planes apart", tiff(color.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), color, rgb=True)
    yield Row("tiff, white is zero", tiff(255 - gray, photometric="miniswhite"), gray[..., None])
    for planar in ("contig", "separate"):
        five = levels(9, 12, 5, dtype=np.uint16)
        stored = five if planar == "contig" else five.transpose(2, 0, 1)
        yield Row(f"tiff, five channels {planar}", tiff(stored, photometric="minisblack", planarconfig=planar), five)
    three = levels(9, 12, 3, dtype=np.uint16)
    yield Row("tiff, three channels that are no colors", tiff(three, photometric="minisblack", planarconfig="contig"), three)
    for height, width in ((1, 1), (1, 5000), (5000, 1), (2, 3)):
        yield Row(f"png, {width} x {height}", pil(levels(height, width), "png"), levels(height, width)[..., None])
    views = [Image.fromarray(levels(9, 12, 3, seed=seed)) for seed in (1, 2)]
    buffer = io.BytesIO()
    views[0].save(buffer, "MPO", save_all=True, append_images=views[1:], quality=100)
    yield Row("jpeg with a second view", buffer.getvalue(), decoded(buffer.getvalue()), rgb=True)


TWO_BIT = (np.arange(9 * 12).reshape(9, 12) % 4 * 85).astype(np.uint8)


def two_bit_gray(key: int | None = None) -> bytes:
    """A gray PNG of four levels, one of which may be transparent; no writer at hand makes such files."""
    packed = b"".join(
        b"\0" + bytes(sum((row[4 * i + j] // 85) << (6 - 2 * j) for j in range(4)) for i in range(3)) for row in TWO_BIT.tolist()
    )

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 12, 9, 2, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    transparent = b"" if key is None else chunk(b"tRNS", struct.pack(">H", key))
    return start + transparent + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")


def scanned(gray: Array, color: Array, two: Array) -> Iterator[Row]:
    """TIFF files as scanners write them."""
    for name in ("raw", "packbits", "tiff_lzw"):
        yield Row(f"tiff, two levels, {name}", pil(two, "tiff", compression=name), (two * 255).astype(np.uint8)[..., None])
    inverted = pil(two, "tiff", compression="packbits", tiffinfo={262: 0})
    yield Row("tiff, two levels, white is zero", inverted, (two * 255).astype(np.uint8)[..., None])
    for name, samples in (("gray", gray), ("color", color)):
        file = pil(samples, "tiff", compression="jpeg", quality=95)
        yield Row(f"tiff, {name}, JPEG", file, decoded(file).reshape(9, 12, -1), rgb=name == "color")
    ycbcr = tiff(levels(40, 50, 3), compression="jpeg", photometric="ycbcr", tile=(16, 32))
    with tifffile.TiffFile(io.BytesIO(ycbcr)) as opened:
        yield Row("tiff, YCbCr, JPEG in tiles", ycbcr, opened.pages[0].asarray(), rgb=True)
    twelve = levels(9, 12, dtype=np.uint16) >> 4
    yield Row("tiff, 12 bits", twelve_bits(twelve), (twelve << 4 | twelve >> 8)[..., None])
    sizes = (1, gray[:4, :4]), (0, gray)
    for name, order in (("before", sizes), ("after", sizes[::-1])):
        pages = io.BytesIO()
        with tifffile.TiffWriter(pages) as writer:
            for subfile_type, samples in order:
                writer.write(samples, subfiletype=subfile_type, metadata=None)
        yield Row(f"tiff, a thumbnail {name} the picture", pages.getvalue(), gray[..., None])


def twelve_bits(samples: Array) -> bytes:
    """A TIFF file of packed 12-bit samples: the same file with 16 bits, whose strip and depth are exchanged."""
    bits = "".join(f"{value:012b}" for value in samples.ravel())
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    file = bytearray(tiff(samples, byteorder="<"))
    with tifffile.TiffFile(io.BytesIO(bytes(file))) as opened:
        tags = opened.pages[0].tags
        (start,), entries = tags[273].value, {code: tags[code].offset + 8 for code in (258, 279)}
    struct.pack_into("<H", file, entries[258], 12)
    struct.pack_into("<I", file, entries[279], len(packed))
    file[start : start + len(packed)] = packed
    return bytes(file)


def several(kind: str, **options: Any) -> bytes:
    frames = [Image.fromarray(levels(8, 8, 3, seed=seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, **WITHOUT_LOSS.get(kind, {}), save_all=True, append_images=frames[1:], **options)
    return buffer.getvalue()


def palette_without_colors() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels(8, 8)).convert("P").save(buffer, "png")
    data = buffer.getvalue()
    start = data.index(b"PLTE") - 4
    return data[:start] + data[start + 12 + int.from_bytes(data[start : start + 4], "big") :]


def with_more_rows(data: bytes) -> bytes:
    """A PNG file whose header promises a row more than its pixels fill."""
    header = data[12:20] + struct.pack(">I", int.from_bytes(data[20:24], "big") + 1) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


GRAY = pil(levels(32, 32), "png")
BMP = pil(levels(64, 64, 3), "bmp")
NOT_A_NUMBER = np.full((8, 8), np.nan, np.float32)
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "jpeg, CMYK that may be inverted": (pil(levels(8, 8, 3), "jpeg", "CMYK").replace(b"Adobe", b"other"), 415, "Adobe"),
    "tiff, CMYK": (pil(levels(8, 8, 3), "tiff", "CMYK"), 415, "gray, RGB"),
    "tiff, LAB": (pil(levels(8, 8, 3), "tiff", "LAB"), 415, "gray, RGB"),
    "tiff, YCbCr": (pil(levels(8, 8, 3), "tiff", "YCbCr"), 415, "gray, RGB"),
    "tiff, RGB and something unsaid": (tiff(levels(8, 8, 4), photometric="rgb", extrasamples=[0]), 415, "marked as alpha"),
    "tiff, 32-bit integers": (tiff(levels(8, 8, dtype=np.int32)), 415, "12 or 16 bits"),
    "tiff, 64-bit floats": (tiff(levels(8, 8, dtype=np.float32).astype(np.float64)), 415, "12 or 16 bits"),
    "tiff, 16-bit floats": (tiff(levels(8, 8, dtype=np.float32).astype(np.float16)), 415, "12 or 16 bits"),
    "tiff, signed": (tiff(levels(8, 8, dtype=np.int16)), 415, "12 or 16 bits"),
    "tiff, group 3": (pil(levels(9, 12) > 127, "tiff", compression="group3"), 415, "save the picture with LZW"),
    "tiff, group 4": (pil(levels(9, 12) > 127, "tiff", compression="group4"), 415, "save the picture with LZW"),
    "tiff, modified Huffman": (pil(levels(9, 12) > 127, "tiff", compression="tiff_ccitt"), 415, "save the picture with LZW"),
    "bigtiff": (tiff(levels(8, 8), bigtiff=True, byteorder="<"), 415, "save the picture as a classic TIFF file"),
    "bigtiff, big-endian": (tiff(levels(8, 8), bigtiff=True, byteorder=">"), 415, "save the picture as a classic TIFF file"),
    "png, animated": (several("png"), 415, "single frame"),
    "webp, animated": (several("webp"), 415, "single frame"),
    "avif, animated": (several("avif"), 415, "single frame"),
    "avif, cut": (pil(levels(64, 64, 3), "avif")[:900], 422, "damaged"),
    "heic, cut": (heic(levels(64, 64, 3))[:900], 422, "damaged"),
    "tiff, pages": (several("tiff"), 415, "single page"),
    "gif": (several("gif"), 415, "png"),
    "0 bytes": (b"", 400, "image"),
    "tiff, not a number": (tiff(NOT_A_NUMBER), 422, "finite"),
    "png, cut": (GRAY[: len(GRAY) // 2], 422, "damaged"),
    "png, a byte changed": (GRAY[:60] + bytes([GRAY[60] ^ 255]) + GRAY[61:], 422, "damaged"),
    "png, palette without colors": (palette_without_colors(), 422, "damaged"),
    "png, a row missing": (with_more_rows(GRAY), 422, "damaged"),
    "png of two levels, a row missing": (with_more_rows(pil(levels(8, 8) > 127, "png")), 422, "damaged"),
    "jpeg, cut": (pil(levels(64, 64, 3), "jpeg")[:900], 422, "damaged"),
    "webp, cut": (pil(levels(64, 64, 3), "webp")[:900], 422, "damaged"),
    "bmp, cut": (BMP[:900], 422, "damaged"),
    "bmp, negative width": (BMP[:18] + struct.pack("<i", -64) + BMP[22:], 422, "negative"),
    "jpeg, cut, with an end marker": (pil(levels(64, 64, 3), "jpeg")[:4000] + b"\xff\xd9", 422, "damaged"),
    "tiff, cut": (tiff(levels(64, 64))[:900], 422, "damaged"),
    "tiff, packed and cut": (tiff(levels(64, 64), compression="deflate")[:900], 422, "damaged"),
    "tiff of 16 bits, cut": (tiff(levels(64, 64, dtype=np.uint16))[:4000], 422, "damaged"),
    "png of 16 bits, cut": (png16(levels(64, 64, 3, dtype=np.uint16))[:9000], 422, "damaged"),
}
