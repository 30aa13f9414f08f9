"""AVIF and HEIC files: pictures coded with AV1 or HEVC, as a whole or in tiles.

The tiles are decoded one after another, each from a file of its own.
"""

import struct
from fractions import Fraction
from typing import Any

import imagecodecs
import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL.ExifTags import Base

from service.errors import UndecodableImage, UnsupportedMode
from service.imaging.decode_errors import undecodable
from service.imaging.decoded import Decoded
from service.imaging.heif_container import Container, Item, single_image
from service.imaging.heif_layout import CONFIGURATIONS, Layout, find_alpha, read_layout
from service.imaging.heif_streams import check_av1, check_hevc
from service.imaging.metadata import Exif, exif_of_tiff
from service.imaging.picture import Header, InputFormat
from service.imaging.tiff_directory import holds_too_much

_FORMATS: dict[bytes, InputFormat] = {b"av01": "avif", b"hvc1": "heic"}
_PROFILES = (b"prof", b"rICC")
_LONGEST_SIDE, _MOST_PIXELS = 1 << 15, 1 << 28  # that the decoders accept
_PLANES = (b"colr", struct.pack(">4sHHHB", b"nclx", 1, 13, 0, 0x80))  # colors that are not converted to RGB
_BLOCK = 8  # smaller than every block of HEVC that may be missing
# Code points of ITU-T H.273 that mean sRGB, or what programs show like it, or nothing.
_SRGB_PRIMARIES, _SRGB_TRANSFERS = {1, 2, 5, 6}, {1, 2, 6, 13, 14, 15}


class HeifImage:
    """An AVIF or HEIC file whose boxes have been read.

    Attributes:
        header: The header.
    """

    def __init__(self, data: bytes) -> None:
        """Read the boxes.

        Raises:
            UnsupportedMode: If there are several frames, or the picture is coded in a way that is not supported.
            UndecodableImage: If the boxes are damaged.
        """
        with undecodable():
            self._container = Container(data)
            self._picture = self._container.items[self._container.primary]
            self._layout = layout = read_layout(self._container, self._picture)
            alpha = find_alpha(self._container)
            self._alpha = read_layout(self._container, alpha) if alpha else None
        if self._alpha and (self._alpha.width, self._alpha.height) != (layout.width, layout.height):
            raise UnsupportedMode("Send AVIF or HEIC whose alpha has the size of the picture.")
        self.header = Header(
            _FORMATS[layout.tiles[0].kind],
            layout.width,
            layout.height,
            channels=1 if layout.gray else 3,
            depth="8" if layout.bits == 8 else "16",
            rgb=not layout.gray,
            alpha=self._alpha is not None,
            premultiplied=self._alpha is not None and b"prem" in self._picture.references,
        )

    def decode(self) -> Decoded:
        """Decode the samples; rotate, mirror and crop them as the file says, and scale more than 8 bits to 16.

        The orientation in the EXIF block has no meaning in these formats.

        Raises:
            UnsupportedMode: If a tile holds several frames, or the picture is cropped within a pixel.
            UndecodableImage: If a tile is damaged or missing, or has another size than the file says.
        """
        header = self.header
        with undecodable():
            exif = self._exif()
            shape = header.height, header.width, header.channels + header.alpha
            samples = np.empty(shape, np.uint8 if header.depth == "8" else np.uint16)
            self._fill(samples[..., : header.channels], self._layout)
            if self._alpha:
                self._fill(samples[..., header.channels :], self._alpha)
            for kind, content in self._picture.properties:
                samples = _transformed(samples, kind, content)
        colors = {content[:4]: content[4:] for content in self._layout.colors}
        icc = next((colors[kind] for kind in _PROFILES if kind in colors), None)
        unlabeled = icc is None and not _is_srgb(colors.get(b"nclx", b""))
        return Decoded(samples, exif, {"icc_profile": icc}, ("unlabeled-colors",) if unlabeled else ())

    def _fill(self, samples: NDArray[Any], layout: Layout) -> None:
        """Decode the tiles of an image into samples of 8 or 16 bits."""
        for index, tile in enumerate(layout.tiles):
            top, left = index // layout.columns * layout.tile_height, index % layout.columns * layout.tile_width
            place = samples[top : top + layout.tile_height, left : left + layout.tile_width]
            decoded = _decoded(tile, self._container.content(tile), layout)
            decoded = decoded[: place.shape[0], : place.shape[1], : place.shape[2]]
            if samples.dtype == np.uint8:
                np.right_shift(decoded, layout.bits - 8, out=place, casting="unsafe")
            else:
                np.left_shift(decoded, 16 - layout.bits, out=place, dtype=np.uint16)
                place |= decoded >> (2 * layout.bits - 16)  # so that white stays white

    def _exif(self) -> Exif:
        """Return the EXIF block without its orientation; a damaged one is no reason to refuse the pixels."""
        exif = Exif()
        for item in self._container.referring(b"cdsc", self._container.primary):
            if item.kind == b"Exif":
                content = self._container.content(item)
                block = content[4 + int.from_bytes(content[:4], "big") :].removeprefix(b"Exif\0\0")
                exif = Exif() if holds_too_much(block) else exif_of_tiff(block)
        exif[Base.Orientation] = 1
        return exif


def _decoded(tile: Item, content: bytes, layout: Layout) -> NDArray[Any]:
    """Decode a tile to (H, W, C) samples of as many bits as the file has."""
    width, height = layout.tile_width, layout.tile_height
    if max(width, height) > _LONGEST_SIDE or width * height > _MOST_PIXELS:
        raise UnsupportedMode(
            f"Send AVIF or HEIC in tiles of at most {_MOST_PIXELS} pixels with sides of at most {_LONGEST_SIDE}."
        )
    name = CONFIGURATIONS[tile.kind]
    configuration = tile.described(name)
    if tile.kind == b"av01":
        check_av1(content, width, height)
    else:
        check_hevc(configuration, content, width, height)
    properties = [(b"ispe", tile.described(b"ispe")), (name, configuration)]
    colors = [(b"colr", value) for value in layout.colors if value.startswith(b"nclx")]
    file = single_image(tile.kind, [*properties, *colors], content)
    if tile.kind == b"av01":
        samples: NDArray[Any] = imagecodecs.avif_decode(file, numthreads=1)
    else:
        samples = _decoded_hevc(file)
        if _has_green(samples):
            planes = _decoded_hevc(single_image(tile.kind, [*properties, _PLANES], content))
            if not planes[::_BLOCK, ::_BLOCK].any(2).all():
                raise UndecodableImage("The file is damaged: part of an image is missing.")
    if samples.shape[:2] != (height, width) or (samples.dtype == np.uint8) != (layout.bits == 8):
        raise UndecodableImage("The file is damaged: an image has another size or depth than the file says.")
    return samples.reshape(height, width, -1)


def _decoded_hevc(file: bytes) -> NDArray[Any]:
    image = pi_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    return np.array(image[0])  # a copy, because the library frees its memory together with the image


def _has_green(samples: NDArray[Any]) -> bool:
    """Tell whether there may be blocks that were not decoded, because their data is damaged.

    The decoder leaves zeros there, in luma and in both color differences, and they become a green without red and blue.
    """
    if samples.ndim < 3:
        return False
    red, green, blue = samples[::_BLOCK, ::_BLOCK, :3].transpose(2, 0, 1)
    return bool(((red == 0) & (blue == 0) & (green > 0)).any())


def _transformed(samples: NDArray[Any], kind: bytes, content: bytes) -> NDArray[Any]:
    """Apply a property to samples (H, W, C) if it is one of the transformations."""
    if kind == b"irot":
        return np.rot90(samples, content[0] & 3)
    if kind == b"imir":
        return np.flip(samples, content[0] & 1)
    if kind == b"clap":
        numbers = struct.unpack_from(">IIIIiIiI", content)
        parts = [Fraction(*numbers[start : start + 2]) for start in (0, 2, 4, 6)]
        return _cropped(_cropped(samples, 1, parts[0], parts[2]), 0, parts[1], parts[3])
    return samples


def _cropped(samples: NDArray[Any], axis: int, length: Fraction, offset: Fraction) -> NDArray[Any]:
    """Crop samples along an axis to a length whose center lies at an offset from the center of the samples."""
    start = offset + (samples.shape[axis] - length) / 2
    if start.denominator != 1 or length.denominator != 1:
        raise UnsupportedMode("Send AVIF or HEIC that is cropped at whole pixels.")
    if not 0 <= start < start + length <= samples.shape[axis]:
        raise UndecodableImage("The file is damaged: it is cropped to something outside the picture.")
    return np.moveaxis(np.moveaxis(samples, axis, 0)[int(start) : int(start + length)], 0, axis)


def _is_srgb(code_points: bytes) -> bool:
    """Tell whether the content of an nclx property means sRGB, or says nothing."""
    if len(code_points) < 4:
        return True
    primaries, transfer = struct.unpack_from(">HH", code_points)
    return primaries in _SRGB_PRIMARIES and transfer in _SRGB_TRANSFERS
