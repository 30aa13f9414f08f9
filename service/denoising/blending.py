"""What happens between the denoised planes and the result: strengths, detail, the mask, and transparent pixels."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.denoising.structure import REACH, noise_share, shares, structure
from service.errors import MaskMismatch
from service.imaging.codec import to_gray
from service.imaging.picture import Picture, Plane, Planes

Area = tuple[slice, slice]

_TILE = 256  # pixels along each side of a tile, to bound the memory beside the picture to 10 MB


@dataclass(frozen=True, slots=True)
class Blend:
    """How the input and the denoised picture are blended.

    Attributes:
        strength: Blend of the input (0) and the denoised picture (1); the default of `luma` and `chroma`.
        luma: Strength for luma, the mean of the channels of an RGB picture; for any other picture, strength for each channel.
        chroma: Strength for the color of an RGB picture.
        detail: How much of the structure that was removed with the noise is given back to luma, from 0 to 1.
        mask: (H, W) in [0, 1]: 0 keeps the input, and 1 blends as the other attributes say; None means 1 everywhere.
    """

    strength: float = 1.0
    luma: float | None = None
    chroma: float | None = None
    detail: float = 0.0
    mask: Plane | None = None

    def strengths(self, *, rgb: bool) -> tuple[float, float]:
        """Return the strengths for luma and for color; the latter is 0 for a picture that is not RGB."""
        luma = self.strength if self.luma is None else self.luma
        chroma = self.strength if self.chroma is None else self.chroma
        return luma, chroma if rgb else 0.0


def matching_mask(mask: Picture, picture: Picture) -> Plane:
    """Return a mask as a plane (H, W) in [0, 1]; its alpha is ignored.

    Raises:
        MaskMismatch: If its size is not that of the picture, or it is neither gray nor RGB.
    """
    if (mask.width, mask.height) != (picture.width, picture.height):
        sizes = f"{mask.width} x {mask.height} pixels, and the image {picture.width} x {picture.height}"
        raise MaskMismatch(f"The mask has {sizes}; their sizes must be equal.")
    mask = to_gray(mask)
    if mask.channels != 1:
        raise MaskMismatch("The mask must be gray or RGB.")
    return np.asarray(mask.planes[0].clip(0, 1))


def blend(noisy: Picture, denoised: Planes, how: Blend) -> Planes:
    """Blend a picture with its denoised planes.

    Args:
        noisy: The picture that was denoised.
        denoised: Its denoised planes, (C, H, W).
        how: How to blend them.

    Returns:
        (C, H, W). Pixels whose alpha is 0 are those of the input.
    """
    luma, chroma = how.strengths(rgb=noisy.rgb)
    if not how.detail and how.mask is None and luma == 1 and chroma == noisy.rgb:
        blended = denoised
    else:
        blended = np.empty_like(denoised)
        for channels in [slice(None)] if noisy.rgb else [slice(index, index + 1) for index in range(noisy.channels)]:
            _blend_channels(noisy.planes[channels], denoised[channels], blended[channels], how, (luma, chroma))
    if noisy.alpha is not None:
        np.copyto(blended, noisy.planes, where=noisy.alpha == 0)
    return blended


def _blend_channels(noisy: Planes, denoised: Planes, out: Planes, how: Blend, strengths: tuple[float, float]) -> None:
    """Blend the channels of an RGB picture, or a single channel, which is its own luma."""
    luma, chroma = strengths
    tiles = list(_tiles(*noisy.shape[1:]))
    share = 0.0
    if how.detail:
        share = noise_share([shares(_change(noisy, denoised, padded).mean(0), inner) for _, padded, inner in tiles])
    for tile, padded, inner in tiles:
        change = _change(noisy, denoised, padded)
        common = change.mean(0)
        change = luma * common + chroma * (change - common)
        if how.detail:
            change -= luma * how.detail * structure(common, share)
        weight = 1.0 if how.mask is None else how.mask[tile]
        out[:, *tile] = noisy[:, *tile] + weight * change[:, *inner]


def _change(noisy: Planes, denoised: Planes, area: Area) -> NDArray[np.float64]:
    return denoised[:, *area].astype(np.float64) - noisy[:, *area]


def _tiles(height: int, width: int) -> Iterator[tuple[Area, Area, Area]]:
    """Yield tiles that cover a plane: the tile, the tile with its surroundings, and the tile within its surroundings."""
    for (rows, padded_rows, inner_rows), (columns, padded_columns, inner_columns) in itertools.product(
        _spans(height), _spans(width)
    ):
        yield (rows, columns), (padded_rows, padded_columns), (inner_rows, inner_columns)


def _spans(length: int) -> Iterator[tuple[slice, slice, slice]]:
    for start in range(0, length, _TILE):
        stop, before = min(start + _TILE, length), max(start - REACH, 0)
        yield slice(start, stop), slice(before, stop + REACH), slice(start - before, stop - before)
