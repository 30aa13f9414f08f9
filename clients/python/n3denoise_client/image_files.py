"""Image files with the figures that come in the headers of their responses, in the units of `n3denoise_client.results`."""

from typing import Annotated

from pydantic import AliasChoices, AliasGenerator, BeforeValidator, ConfigDict, Field

from n3denoise_client.results import Answer, DenoisedFigures, UpscaledFigures


def _milliseconds(header: object) -> object:
    """Return the stages of a Server-Timing header with their milliseconds."""
    if not isinstance(header, str):
        return header
    stages = (entry.strip().partition(";dur=") for entry in header.split(","))
    return {name: float(milliseconds) for name, _, milliseconds in stages if milliseconds}


class ImageFile(Answer):
    """An image file, and what the headers of its response say.

    Attributes:
        image: The bytes of the file.
        media_type: Its media type, such as image/png.
        server_timing: Milliseconds by stage.
    """

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(name, "x-" + name.replace("_", "-")))
    )

    image: bytes
    media_type: str
    sigma: float
    model: str
    weights_sha256: str | None = None
    device: str
    device_fallback: str | None = None
    server_timing: Annotated[dict[str, float], BeforeValidator(_milliseconds)] = Field({}, validation_alias="server-timing")


class MeasuredImage(ImageFile):
    """An image file with its quality; there is none without a reference."""

    psnr_noisy: float | None = None
    psnr_denoised: float | None = None
    ssim_noisy: float | None = None
    ssim_denoised: float | None = None


def _codes(header: object) -> object:
    return tuple(code.strip() for code in header.split(",")) if isinstance(header, str) else header


class Denoised(MeasuredImage):
    """A denoised picture.

    Attributes:
        warnings: Codes of conversions, and of reasons to doubt the estimate or the result; docs/pictures.md explains them.
        figures: All figures, if they were asked for with `figures` or `noise_map`.
    """

    sigma_confidence: float | None = None
    gain: float | None = None
    read_noise: float | None = None
    offset: float | None = None
    warnings: Annotated[tuple[str, ...], BeforeValidator(_codes)] = ()
    psnr_gain: float | None = None
    figures: DenoisedFigures | None = None


class Upscaled(ImageFile):
    """An enlarged picture, with its quality and that of the bicubic enlargement on luma; there is none without a reference.

    Attributes:
        factor: The factor by which it was enlarged.
        warnings: As for `Denoised`.
        figures: All figures, if they were asked for with `figures`.
    """

    factor: int
    sigma_confidence: float | None = None
    warnings: Annotated[tuple[str, ...], BeforeValidator(_codes)] = ()
    psnr_bicubic: float | None = None
    psnr_upscaled: float | None = None
    psnr_gain: float | None = None
    ssim_bicubic: float | None = None
    ssim_upscaled: float | None = None
    figures: UpscaledFigures | None = None


class EvaluatedImage(MeasuredImage):
    """The clean, noisy and denoised picture side by side."""

    seed: int


class HeatMap(ImageFile):
    """A gray picture with the weights of the patches in color."""

    temperature: float
