"""AVIF and HEIC files of every structure, made of images that Pillow and pillow-heif encode."""

import io
import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[Any]
Properties = Sequence[tuple[bytes, bytes]]
References = Sequence[tuple[bytes, Sequence[int]]]
CONFIGURATIONS = {b"av01": b"av1C", b"hvc1": b"hvcC"}
ESSENTIAL = {*CONFIGURATIONS.values(), b"irot", b"imir", b"clap", b"lsel"}
ALPHA = {b"av01": b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"hvc1": b"urn:mpeg:hevc:2015:auxid:1\0"}


@dataclass(frozen=True)
class Item:
    """An item of a file: its type, its properties, its data, and the items that it refers to, which count from 1.

    Items whose data is the same object share it.
    """

    kind: bytes
    properties: Properties
    data: bytes
    references: References = ()
    in_meta: bool = False


def avif(samples: Array, **options: Any) -> bytes:
    buffer = io.BytesIO()
    subsampling = "4:4:4" if samples.ndim > 2 else "4:0:0"
    options = {"quality": 100, "subsampling": subsampling, "speed": 10, "max_threads": 1} | options
    Image.fromarray(samples).save(buffer, "AVIF", **options)
    return buffer.getvalue()


def heic(samples: Array, **options: Any) -> bytes:
    """A HEIC file of samples of 8 bits, or of 10 bits if they have 16."""
    mode = {2: "L", 3: {1: "L", 3: "RGB", 4: "RGBA"}.get(samples.shape[-1], "")}[samples.ndim]
    mode += ";16" if samples.dtype == np.uint16 else ""
    buffer = io.BytesIO()
    file = pillow_heif.from_bytes(mode, samples.shape[1::-1], np.ascontiguousarray(samples).tobytes())
    file.save(buffer, **({"quality": 90, "chroma": 444} | options))
    return buffer.getvalue()


def by_another(file: bytes) -> Array:
    """Samples as Pillow or pillow-heif reads them, upright and cropped."""
    if file[8:12] == b"avif":
        return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
    samples: Array = np.asarray(pillow_heif.open_heif(file).to_pillow())
    return samples


def film() -> bytes:
    """An animated AVIF file."""
    buffer = io.BytesIO()
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 128, 255)]
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def content_of(file: bytes, kind: bytes) -> bytes:
    """Return the content of the first box of a type, wherever it is."""
    start = file.index(kind)
    return file[start + 4 : start - 4 + int.from_bytes(file[start - 4 : start], "big")]


def coded(kind: bytes, samples: Array, *more: tuple[bytes, bytes], **options: Any) -> Item:
    """Return an item of samples that are coded as a whole; the sides of HEIC are multiples of 8 and at least 64 pixels."""
    file = avif(samples, **options) if kind == b"av01" else heic(samples, **options)
    assert b"clap" not in file, "the encoder extends other sides"
    name = CONFIGURATIONS[kind]
    size = (b"ispe", struct.pack(">III", 0, samples.shape[1], samples.shape[0]))
    return Item(kind, [size, (name, content_of(file, name)), *more], content_of(file, b"mdat"))


def grid(width: int, height: int, columns: int, tiles: Sequence[int], *more: tuple[bytes, bytes]) -> Item:
    """Return an item that is made of others."""
    data = struct.pack(">BBBBHH", 0, 0, len(tiles) // columns - 1, columns - 1, width, height)
    size = (b"ispe", struct.pack(">III", 0, width, height))
    return Item(b"grid", [size, *more], data, [(b"dimg", tiles)], in_meta=True)


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def heif(items: Sequence[Item], *, primary: int = 1, brand: bytes | None = None, after: bytes = b"") -> bytes:
    """Return a file of items, whose identifiers count from 1, and further boxes after them."""
    brand = brand or (b"avif" if any(item.kind == b"av01" for item in items) else b"heic")
    properties = [each for item in items for each in item.properties]
    inside, outside = (
        {id(item.data): item.data for item in items if item.in_meta == in_meta}.values() for in_meta in (True, False)
    )
    start = 0
    for _ in range(2):
        offsets: dict[int, int] = {}
        for contents, offset in ((inside, 0), (outside, start)):
            ends = itertools.accumulate(map(len, contents), initial=offset)
            offsets |= dict(zip(map(id, contents), ends, strict=False))
        places, index, associations = [], 0, []
        for number, item in enumerate(items, 1):
            offset = offsets[id(item.data)]
            places.append(struct.pack(">HHHHII", number, item.in_meta, 0, 1, offset, len(item.data)))
            essential = [32768 * (name in ESSENTIAL) for name, _ in item.properties]
            indices = [place + flag for place, flag in enumerate(essential, index + 1)]
            index += len(item.properties)
            associations.append(struct.pack(f">HB{len(indices)}H", number, len(indices), *indices))
        references = [
            box(name, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets))
            for number, item in enumerate(items, 1)
            for name, targets in item.references
        ]
        infos = [box(b"infe", struct.pack(">BBHHH4sx", 2, 0, 0, number, 0, item.kind)) for number, item in enumerate(items, 1)]
        meta = box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", struct.pack(">IH", 0, primary)),
            box(b"iloc", struct.pack(">BxHHH", 1, 0, 0x4400, len(items)), *places),
            box(b"iinf", struct.pack(">IH", 0, len(items)), *infos),
            box(b"iref", bytes(4), *references),
            box(
                b"iprp",
                box(b"ipco", *(box(name, content) for name, content in properties)),
                box(b"ipma", struct.pack(">II", 1, len(items)), *associations),
            ),
            box(b"idat", *inside) if inside else b"",
        )
        head = box(b"ftyp", brand, bytes(4), brand, b"mif1") + meta
        start = len(head) + 8
    return head + box(b"mdat", *outside) + after
