"""Request options and response bodies."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidParameter
from service.picture import Format

T = TypeVar("T", bound=BaseModel)


class DenoiseOptions(BaseModel):
    """What a caller may ask for, in the query or as form fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False, description="Standard deviation of the noise, 0-255 scale.")]
    model: Annotated[Literal["n3net"], Field(description="Which model; see /v1/models.")] = "n3net"
    format: Annotated[Format | None, Field(description="Format of the result; the input's by default.")] = None


class Denoised(BaseModel):
    """The answer to a caller that accepts JSON only."""

    image: str = Field(description="The denoised image file in base64.")
    media_type: str
    width: int
    height: int
    sigma: float = Field(description="Used, 0-255 scale.")
    model: str
    weights_sha256: str
    device: str
    psnr_noisy: float | None = Field(None, description="Against the reference, on 8-bit pixels, dB; null without one.")
    psnr_denoised: float | None = Field(None, description="Against the reference, on the returned pixels, dB.")


class Health(BaseModel):
    """State of the process or of the service."""

    status: Literal["ok"] = "ok"


class ModelCard(BaseModel):
    """One model that can be asked for."""

    name: str
    weights: str
    weights_sha256: str
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
    weights_sha256: str
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
