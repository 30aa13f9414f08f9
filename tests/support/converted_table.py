"""Further rows for `test_pictures`: files that do not come back as they were, and gray AVIF."""

import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.heif_files import by_another, heic
from tests.support.picture_table import Array, Row, decoded, levels, pil, tiff


def converted_rows() -> Iterator[Row]:
    gray, color, alpha = levels(9, 12), levels(9, 12, 3), levels(9, 12, seed=4)
    alpha[:, :3], alpha[:, -2:] = 0, 255
    yield Row("bmp, RGBA comes back as PNG", bmp_with_alpha(color, alpha), color, alpha, rgb=True)
    for name, samples in (("gray", gray), ("color", color)):
        file = heic(samples, quality=-1)
        yield Row(f"heic, {name}, comes back as JPEG", file, by_another(file).reshape(9, 12, -1), rgb=name == "color")
    file = heic(np.dstack([color, alpha]), quality=-1)
    shown = by_another(file)
    yield Row("heic, RGBA comes back as PNG", file, shown[..., :3], shown[..., 3], rgb=True)
    file = pil(gray, "avif", subsampling="4:0:0")
    yield Row("avif, gray", file, decoded(file)[..., None])
    file = pil(color, "jpeg", "CMYK")
    shown = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    yield Row("jpeg, CMYK", file, shown, rgb=True)
    opaque = np.where(alpha == 0, 0, 255).astype(np.uint8)  # half of it would need more digits than 8 bits have
    multiplied = np.where(opaque[..., None] == 0, 0, color)
    file = tiff(np.dstack([multiplied, opaque]), photometric="rgb", extrasamples=[1])
    yield Row("tiff, premultiplied alpha", file, multiplied, opaque, rgb=True)


def bmp_with_alpha(color: Array, alpha: Array) -> bytes:
    """A BMP file whose version-4 header names the bits of alpha, from the bottom row to the top."""
    pixels = np.dstack([color[..., ::-1], alpha])[::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, color.shape[1], color.shape[0], 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return struct.pack("<2sIHHI", b"BM", 122 + len(pixels), 0, 0, 122) + header + pixels
