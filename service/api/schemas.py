"""Options of requests and bodies of responses."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.denoising.estimation import ColorMode
from service.denoising.photon_counts import NoiseKind
from service.imaging.metadata import Keep
from service.imaging.picture import FORMAT_ALIASES, Depth, Format
from service.settings import DEFAULT_MODEL

Model = Literal["n3unet", "n3net", "photo", "dncnn", "nlm"]
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def _plain_number(value: object) -> object:
    """Refuse what pydantic would take for a number, such as 1_0 or one with a line feed; no option may be negative."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("not a number")
    return value


PLAIN = BeforeValidator(_plain_number)
"""Refuses what is not a plain decimal number."""
Share = Annotated[float, Field(ge=0, le=1), PLAIN]
"""A number from 0 to 1."""
Sigma = Annotated[
    Annotated[float, Field(ge=0, allow_inf_nan=False), PLAIN] | Literal["auto"],
    Field(description="Standard deviation of the noise on the 0-255 scale, or auto to estimate it."),
]
Ensemble = Annotated[bool, Field(description="Average over all eight flips and rotations; takes eight times as long.")]
OutputFormat = Annotated[
    Format | None,
    BeforeValidator(lambda name: FORMAT_ALIASES.get(name, name)),
    Field(description="Format of the result; by default that of the input, but jpeg for HEIC. jpg means jpeg, tif means tiff."),
]
WITH_NOISE_MAP = "Whether the JSON holds the estimated noise level map as a PNG."
NOISE_MAP = (
    "16-bit gray PNG in base64 with a pixel for each 8 x 8 pixels of the picture: 256 times the noise level of a channel on the "
    "0-255 scale. null unless noise_map is true and the network estimated a map."
)


class TreatmentOptions(BaseModel):
    """Options for denoising a picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: Sigma = "auto"
    noise: Annotated[
        NoiseKind,
        Field(
            description=(
                "gaussian: noise of the level sigma. poisson: photon noise of a gray picture whose samples are proportional to "
                "the light, with the variance gain x signal + read_noise²; sigma must be auto."
            )
        ),
    ] = "gaussian"
    gain: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False), PLAIN] | Literal["auto"],
        Field(description="For poisson: samples per photo-electron on the 0-255 scale, or auto to estimate it."),
    ] = "auto"
    read_noise: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False), PLAIN] | Literal["auto"],
        Field(
            description="For poisson: standard deviation of the noise without light on the 0-255 scale, or auto to estimate it."
        ),
    ] = "auto"
    model: Annotated[
        Literal["auto", Model],
        Field(
            description=(
                "Name of the model; /v1/models lists the available ones. auto takes photo if sigma is auto and the noise is not "
                "white, and n3unet otherwise."
            )
        ),
    ] = "auto"
    color: Annotated[ColorMode, Field(description="gray converts color to gray, as the paper does; rgb keeps color.")] = "gray"
    strength: Annotated[Share, Field(description="Blend of the input (0) and the denoised picture (1).")] = 1.0
    luma_strength: Annotated[Share | None, Field(description="Strength for luma; by default that of strength.")] = None
    chroma_strength: Annotated[
        Share | None, Field(description="Strength for color, which gray pictures do not have; by default that of strength.")
    ] = None
    detail: Annotated[Share, Field(description="How much of the structure that was removed with the noise is given back.")] = 0.0
    ensemble: Ensemble = False


class NoiseOptions(BaseModel):
    """Options for POST /v1/noise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    color: Annotated[ColorMode, Field(description="gray converts color to gray, as the paper does; rgb keeps color.")] = "gray"
    noise_map: Annotated[bool, Field(description=WITH_NOISE_MAP)] = False


class EvaluateOptions(BaseModel):
    """Options for POST /v1/evaluate; the denoiser is told the sigma of the noise that is added."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="Standard deviation of the added noise, 0-255 scale."), PLAIN
    ] = 25.0
    seed: Annotated[
        int, Field(ge=0, le=2**63 - 1, description="Seed of the noise; the same seed gives the same noise."), PLAIN
    ] = 0
    model: Annotated[Model, Field(description="Name of the model; /v1/models lists the available ones.")] = DEFAULT_MODEL
    color: Annotated[ColorMode, Field(description="gray converts color to gray, as the paper does; rgb keeps color.")] = "gray"
    ensemble: Ensemble = False


class DenoiseOptions(TreatmentOptions):
    """Options for POST /v1/denoise, in the query or as form fields."""

    format: OutputFormat = None
    depth: Annotated[Depth | None, Field(description="Depth of the result; by default that of the input.")] = None
    noise_map: Annotated[bool, Field(description=WITH_NOISE_MAP)] = False
    metadata: Annotated[Keep, Field(description="no-gps drops GPS data, keep also keeps GPS data, strip drops all metadata.")] = (
        "no-gps"
    )


class FigurePair(BaseModel):
    """Quality of a picture against the reference, without alpha."""

    psnr: float | None = Field(description="PSNR in dB over all channels, with white as 1; null if the pictures are identical.")
    ssim: float | None = Field(description="SSIM (Wang et al. 2004), mean over the channels; null if a side is below 11 pixels.")


class Warned(BaseModel):
    """A reason to doubt an estimate or a result."""

    code: str
    detail: str


class Noise(BaseModel):
    """The estimated noise of a picture."""

    sigma: float = Field(description="Standard deviation on the 0-255 scale.")
    confidence: float = Field(description="Confidence in the estimate, from 0 to 1.")
    warnings: list[Warned]


class PlaneLevel(BaseModel):
    """The noise level that was used or estimated for one plane."""

    plane: str = Field(
        description=(
            "gray; for RGB, rgb if the model denoises the channels in one pass, otherwise luma, red-blue or magenta-green; "
            "channel-1 and so on for unrelated channels."
        )
    )
    sigma: float | None = Field(
        description="Standard deviation of the noise of this plane, on the 0-255 scale; null if no network processed the plane."
    )


class PhotonNoiseUsed(BaseModel):
    """Photon noise of the variance gain x (signal - offset) + read_noise², on the 0-255 scale."""

    gain: float = Field(description="Samples per photo-electron.")
    read_noise: float = Field(description="Standard deviation of the noise without light.")
    offset: float = Field(description="Level of a sample without light; it is 0 unless it was estimated.")


class NoiseByPlane(Noise):
    """Result of POST /v1/noise."""

    sigmas: list[PlaneLevel] = Field(description="Estimated noise level of each plane.")
    noise_map: str | None = Field(description=NOISE_MAP)


class DenoisedFigures(BaseModel):
    """What is known about a denoised picture."""

    width: int
    height: int
    sigma: float = Field(
        description=(
            "Noise level of a channel, on the 0-255 scale: the sigma given, or the estimate, as the root of the mean variance "
            "over the channels and the picture."
        )
    )
    sigmas: list[PlaneLevel] = Field(description="Noise level used for each plane, or its mean if the level varies.")
    noise_map: str | None = Field(description=NOISE_MAP)
    noise: Noise | None = Field(description="The estimate, if sigma, gain or read_noise was estimated.")
    photon_noise: PhotonNoiseUsed | None = Field(description="For noise=poisson: the noise that was given or estimated.")
    warnings: list[Warned] = Field(description="How the image was converted, and reasons to doubt the estimate or the result.")
    model: str
    weights_sha256: str | None = Field(description="SHA-256 of the weights; null for a method without weights.")
    device: str
    noisy: FigurePair | None = Field(description="Quality of the input against the reference.")
    denoised: FigurePair | None = Field(description="Quality of the returned pixels, rounded and encoded, against the reference.")
    denoised_floats: FigurePair | None = Field(description="Quality of the result before rounding, against the reference.")
    gain: FigurePair | None = Field(description="How much better the returned pixels are than the input.")


class Denoised(DenoisedFigures):
    """Result of POST /v1/denoise for a caller that accepts JSON."""

    image: str = Field(description="Denoised image file in base64.")
    media_type: str


class Evaluated(BaseModel):
    """Result of POST /v1/evaluate, a row of the paper's table; nothing was clipped or rounded before measuring."""

    sigma: float = Field(description="Standard deviation of the added noise, on the 0-255 scale.")
    seed: int
    width: int
    height: int
    model: str
    weights_sha256: str | None = Field(description="SHA-256 of the weights; null for a method without weights.")
    device: str
    noisy: FigurePair
    denoised: FigurePair
    gain: FigurePair
    noisy_image: str = Field(description="Noisy image as a base64-encoded 8-bit PNG.")
    denoised_image: str = Field(description="Denoised image as a base64-encoded 8-bit PNG.")


class Health(BaseModel):
    """State of the process or of the service."""

    status: Literal["ok"] = "ok"


class ModelCard(BaseModel):
    """One available model."""

    name: str
    task: Literal["denoise", "upscale"] = Field(description="What the model does.")
    weights: str | None = Field(description="Name of the weights; null for a method without weights.")
    weights_sha256: str | None
    color_weights_sha256: str | None = Field(
        description="SHA-256 of the weights for color=rgb; null if the gray network denoises color planes one by one."
    )
    device: str
    sigma_min: float
    sigma_max: float
    facts: dict[str, str]


class Models(BaseModel):
    """All available models."""

    models: list[ModelCard]


class Limits(BaseModel):
    """Limits of what the service accepts."""

    max_body_bytes: int
    max_pixels: int
    max_channels: int
    formats: list[str]
    queue_requests: int
    interleave_images: int
    timeout_seconds: float
    queue_timeout_seconds: float
    jobs_bytes: int
    job_timeout_seconds: float
    job_keep_seconds: float


class Info(BaseModel):
    """The service: versions, device, default model, limits."""

    version: str
    python: str
    torch: str
    device: str
    device_name: str
    dtype: str
    fallback_reason: str | None = Field(description="Why the service uses the CPU although a GPU was allowed; null otherwise.")
    model: str
    weights_sha256: str | None
    pixels_per_second: float | None = Field(description="Measured speed of the default model in pixels per second.")
    limits: Limits


class Problem(BaseModel):
    """An error (RFC 9457); some errors have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
