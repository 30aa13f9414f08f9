"""Request options and response bodies."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.denoising.pipeline import Color
from service.errors import InvalidParameter
from service.imaging.metadata import Keep
from service.imaging.picture import Depth, Format

T = TypeVar("T", bound=BaseModel)
Model = Literal["n3net", "dncnn", "nlm"]


class TreatmentOptions(BaseModel):
    """How a picture is denoised."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"],
        Field(description="Standard deviation of the noise, 0-255 scale, or auto to find it out."),
    ] = "auto"
    model: Annotated[Model, Field(description="Which model; /v1/models lists those that are here.")] = "n3net"
    color: Annotated[Color, Field(description="gray turns color to gray as the paper does; rgb keeps it.")] = "gray"
    strength: Annotated[float, Field(ge=0, le=1, description="Blend of the input (0) and the result (1).")] = 1.0
    ensemble: Annotated[bool, Field(description="Average over the eight flips and rotations, in eight times the time.")] = False


class NoiseOptions(BaseModel):
    """Of what the noise is found out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    color: Annotated[Color, Field(description="gray turns color to gray as the paper does; rgb keeps it.")] = "gray"


class EvaluateOptions(BaseModel):
    """How much noise is added to a clean image, and how it is denoised; the denoiser is told the same sigma."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False, description="Standard deviation, 0-255 scale.")] = 25.0
    seed: Annotated[int, Field(ge=0, lt=2**63, description="Of the noise: the same seed, the same noise.")] = 0
    model: Annotated[Model, Field(description="Which model; /v1/models lists those that are here.")] = "n3net"
    color: Annotated[Color, Field(description="gray turns color to gray as the paper does; rgb keeps it.")] = "gray"
    ensemble: Annotated[bool, Field(description="Average over the eight flips and rotations, in eight times the time.")] = False


class DenoiseOptions(TreatmentOptions):
    """What a caller may ask for, in the query or as form fields."""

    format: Annotated[Format | None, Field(description="Format of the result; the input's by default.")] = None
    depth: Annotated[Depth | None, Field(description="Depth of the result; the input's by default.")] = None
    metadata: Annotated[Keep, Field(description="Keep all but the place, keep all, or strip all.")] = "no-gps"


class FigurePair(BaseModel):
    """Quality against the reference, alpha left out; null where it is infinite or there is none."""

    psnr: float | None = Field(description="10 log10(1 / MSE) in dB, white is 1, over all channels; null if identical.")
    ssim: float | None = Field(description="Wang et al. 2004, mean over channels; null for a side under 11 pixels.")


class Warned(BaseModel):
    """What speaks against taking an estimate at its word."""

    code: str
    detail: str


class Noise(BaseModel):
    """What was found out about the noise."""

    sigma: float = Field(description="0-255 scale.")
    confidence: float = Field(description="From 0 to 1.")
    warnings: list[Warned]


class Denoised(BaseModel):
    """The answer to a caller that accepts JSON only."""

    image: str = Field(description="The denoised image file in base64.")
    media_type: str
    width: int
    height: int
    sigma: float = Field(description="Used, 0-255 scale.")
    noise: Noise | None = Field(description="For sigma=auto.")
    model: str
    weights_sha256: str | None = Field(description="Null for a method without weights.")
    device: str
    noisy: FigurePair | None = Field(description="Of what was sent, against the reference.")
    denoised: FigurePair | None = Field(description="Of the pixels returned, rounded and encoded, against the reference.")
    denoised_floats: FigurePair | None = Field(description="Of the result before it was rounded, against the reference.")
    gain: FigurePair | None = Field(description="By how much the pixels returned are better than what was sent.")


class Evaluated(BaseModel):
    """One row of the paper's table: noise added, denoised, measured, nothing clipped or rounded."""

    sigma: float = Field(description="Of the noise that was added, 0-255 scale.")
    seed: int
    width: int
    height: int
    model: str
    weights_sha256: str | None = Field(description="Null for a method without weights.")
    device: str
    noisy: FigurePair
    denoised: FigurePair
    gain: FigurePair
    noisy_image: str = Field(description="PNG in base64, clipped and rounded to 8 bits.")
    denoised_image: str = Field(description="Likewise.")


class Health(BaseModel):
    """State of the process or of the service."""

    status: Literal["ok"] = "ok"


class ModelCard(BaseModel):
    """One model that can be asked for."""

    name: str
    weights: str | None = Field(description="Null for a method without weights.")
    weights_sha256: str | None
    device: str
    sigma_min: float
    sigma_max: float
    facts: dict[str, str]


class Models(BaseModel):
    """All models that can be asked for."""

    models: list[ModelCard]


class Limits(BaseModel):
    """What is accepted."""

    max_body_bytes: int
    max_pixels: int
    formats: list[str]
    queue_requests: int
    interleave_images: int
    timeout_seconds: float
    queue_timeout_seconds: float


class Info(BaseModel):
    """What runs here, on what, within which limits."""

    version: str
    python: str
    torch: str
    device: str
    device_name: str
    dtype: str
    fallback_reason: str | None = Field(description="Why the CPU is used although a GPU was allowed; null otherwise.")
    model: str
    weights_sha256: str | None
    pixels_per_second: float | None = Field(description="Measured rate of the device.")
    limits: Limits


class Problem(BaseModel):
    """An error, as RFC 9457 has it; some errors have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str


def parse(options: type[T], fields: Mapping[str, str]) -> T:
    """Read options from the fields of a query and form.

    Raises:
        InvalidParameter: Naming the options at fault, as far as their names are ours.
    """
    try:
        return options.model_validate(fields)
    except ValidationError as error:
        places = {str(each["loc"][0]) for each in error.errors(include_input=False, include_url=False) if each["loc"]}
        ours = sorted(places & options.model_fields.keys())
        names = ", ".join(ours) or "one that is not known here"
        raise InvalidParameter(f"Missing or invalid: {names}.", parameters=ours) from None
