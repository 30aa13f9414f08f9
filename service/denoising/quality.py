"""PSNR and SSIM of a treated picture against a reference, on the returned pixels and on the floats before rounding.

Convention: PSNR is 10 log10(1 / MSE) with white as 1, over all samples of all color channels, infinite for identical pictures.
SSIM is that of Wang et al. (2004), Gaussian window of standard deviation 1.5, the mean over the channels; there is none for a
picture with a side under 11 pixels. Alpha does not count. Color compared with a gray result is turned to gray first.
"""

from dataclasses import dataclass

from models.images.metrics import psnr, ssim
from service.denoising.pipeline import Treated
from service.errors import ReferenceMismatch
from service.imaging.codec import to_gray
from service.imaging.picture import Picture, Planes

_SMALLEST_SIDE = 11


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one picture against the reference, or the gain from one to another.

    Attributes:
        psnr: dB.
        ssim: None for a picture too small for it.
    """

    psnr: float
    ssim: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one treatment against the reference.

    Attributes:
        noisy: The input's.
        denoised: Of the pixels that are returned, rounded and, in a lossy format, changed by it.
        floats: Of the result before it was rounded or clipped.
    """

    noisy: Figures
    denoised: Figures
    floats: Figures

    @property
    def gain(self) -> Figures:
        """By how much the returned pixels are better than the input."""
        return gain(self.noisy, self.denoised)


def gain(before: Figures, after: Figures) -> Figures:
    """The difference of two pictures' figures; of two that are identical to the reference it is 0."""
    similarity = None if before.ssim is None or after.ssim is None else after.ssim - before.ssim
    return Figures(after.psnr - before.psnr if after.psnr != before.psnr else 0.0, similarity)


def fitting(reference: Picture, picture: Picture) -> Picture:
    """The reference in the colors of a picture, of which it may differ in format and depth.

    Raises:
        ReferenceMismatch: If it has another size or other channels.
    """
    if (reference.width, reference.height) != (picture.width, picture.height):
        raise ReferenceMismatch("The reference must be as wide and as high as the image.")
    if picture.channels == 1:
        reference = to_gray(reference)
    if (reference.channels, reference.rgb) != (picture.channels, picture.rgb):
        raise ReferenceMismatch("The reference must have the channels of the result: gray for gray, color for color.")
    return reference


def compare(treated: Treated, returned: Picture, reference: Picture) -> Quality:
    """Measure a treatment.

    Args:
        treated: The treatment.
        returned: The file that is returned, decoded again.
        reference: As `fitting` gives it.
    """
    channels = treated.picture.channels  # WebP gives gray back as three equal channels
    return Quality(
        noisy=figures(treated.noisy.planes, reference.planes),
        denoised=figures(returned.planes[:channels], reference.planes),
        floats=figures(treated.picture.planes, reference.planes),
    )


def figures(planes: Planes, reference: Planes) -> Figures:
    """PSNR and SSIM of planes (C, H, W) against others."""
    similarity = None
    if min(planes.shape[1:]) >= _SMALLEST_SIDE:
        similarity = sum(map(ssim, planes, reference)) / len(planes)
    return Figures(psnr(planes, reference), similarity)
