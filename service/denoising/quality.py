"""PSNR and SSIM of a denoised picture against a reference, on the returned pixels and on the floats before rounding.

PSNR is 10 log10(1 / MSE) with white as 1, over all samples of all color channels, and infinite for identical pictures. SSIM is
that of Wang et al. (2004) with a Gaussian window of standard deviation 1.5, averaged over the channels; a picture with a side
under 11 pixels has none. Alpha does not count. A color reference is converted to gray before it is compared with a gray result.
"""

from dataclasses import dataclass

from models.images.metrics import psnr, ssim
from service.denoising.pipeline import DenoisedPicture
from service.errors import ReferenceMismatch
from service.imaging.codec import to_gray
from service.imaging.picture import Picture, Planes

_SMALLEST_SIDE = 11


@dataclass(frozen=True, slots=True)
class Figures:
    """Quality of one picture against the reference, or the gain from one picture to another.

    Attributes:
        psnr: Peak signal-to-noise ratio in dB.
        ssim: Structural similarity; None for a picture that is too small for it.
    """

    psnr: float
    ssim: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of an input and its denoised picture against the reference.

    Attributes:
        noisy: Figures of the input.
        denoised: Figures of the returned pixels, after rounding and any lossy compression.
        floats: Figures of the result before rounding and clipping.
    """

    noisy: Figures
    denoised: Figures
    floats: Figures

    @property
    def gain(self) -> Figures:
        """Return how much better the returned pixels are than the input."""
        return gain(self.noisy, self.denoised)


def gain(before: Figures, after: Figures) -> Figures:
    """Return the difference of the figures of two pictures; it is 0 if both are identical to the reference."""
    similarity = None if before.ssim is None or after.ssim is None else after.ssim - before.ssim
    return Figures(after.psnr - before.psnr if after.psnr != before.psnr else 0.0, similarity)


def matching_reference(reference: Picture, picture: Picture) -> Picture:
    """Return the reference with the channels of a picture; their formats and depths may differ.

    Raises:
        ReferenceMismatch: If the size or the channels differ.
    """
    if (reference.width, reference.height) != (picture.width, picture.height):
        sizes = f"{reference.width} x {reference.height} pixels, and the image {picture.width} x {picture.height}"
        raise ReferenceMismatch(f"The reference has {sizes}; their sizes must be equal.")
    if picture.channels == 1:
        reference = to_gray(reference)
    if (reference.channels, reference.rgb) != (picture.channels, picture.rgb):
        raise ReferenceMismatch("The reference must have the channels of the result: gray for gray, color for color.")
    return reference


def compare(result: DenoisedPicture, returned: Picture, reference: Picture) -> Quality:
    """Measure a denoised picture.

    Args:
        result: The denoised picture before encoding.
        returned: The returned file, decoded again.
        reference: A reference that `matching_reference` returned.
    """
    channels = result.picture.channels  # WebP returns gray as three equal channels
    return Quality(
        noisy=figures(result.noisy.planes, reference.planes),
        denoised=figures(returned.planes[:channels], reference.planes),
        floats=figures(result.picture.planes, reference.planes),
    )


def figures(planes: Planes, reference: Planes) -> Figures:
    """Return PSNR and SSIM of planes (C, H, W) against reference planes of the same shape."""
    similarity = None
    if min(planes.shape[1:]) >= _SMALLEST_SIDE:
        similarity = sum(map(ssim, planes, reference)) / len(planes)
    return Figures(psnr(planes, reference), similarity)
