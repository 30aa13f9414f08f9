"""Options of POST /v1/upscale and bodies of responses."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.api.schemas import PLAIN, Ensemble, FigurePair, Noise, OutputFormat, PlaneLevel, Warned
from service.imaging.metadata import Keep
from service.imaging.picture import Depth


def _number(value: object) -> object:
    return int(value) if value in ("2", "3", "4") else value


class UpscaleOptions(BaseModel):
    """Options for POST /v1/upscale."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: Annotated[
        Literal[2, 3, 4], BeforeValidator(_number), Field(description="Factor by which both sides of the image are enlarged.")
    ] = 2
    sigma: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False), PLAIN] | Literal["auto"],
        Field(
            description=(
                "Standard deviation of the noise to remove on the 0-255 scale, up to 25; auto estimates it; 0 removes none."
            )
        ),
    ] = 0.0
    ensemble: Ensemble = False
    format: OutputFormat = None
    depth: Annotated[Depth | None, Field(description="Depth of the result; by default that of the input.")] = None
    metadata: Annotated[Keep, Field(description="no-gps drops GPS data, keep also keeps GPS data, strip drops all metadata.")] = (
        "no-gps"
    )


class UpscaledFigures(BaseModel):
    """What is known about an enlarged picture."""

    width: int = Field(description="Width of the enlarged picture.")
    height: int = Field(description="Height of the enlarged picture.")
    factor: int
    sigma: float = Field(description="Noise level of a channel, on the 0-255 scale: the sigma given, or the estimate.")
    sigmas: list[PlaneLevel] = Field(
        description="Noise level that the network was told for each plane; null for a plane that was enlarged bicubically."
    )
    noise: Noise | None = Field(description="The estimate, if sigma was estimated.")
    warnings: list[Warned] = Field(description="How the image was converted, and reasons to doubt the estimate or the result.")
    model: str
    weights_sha256: str | None = Field(description="SHA-256 of the weights.")
    device: str
    bicubic: FigurePair | None = Field(
        description="Quality of the bicubic enlargement against the reference: on luma, without a border as wide as the factor."
    )
    upscaled: FigurePair | None = Field(
        description="Quality of the returned pixels, rounded and encoded, measured in the same way."
    )
    upscaled_floats: FigurePair | None = Field(description="Quality of the result before rounding, measured in the same way.")
    gain: FigurePair | None = Field(description="How much better the returned pixels are than the bicubic enlargement.")


class Upscaled(UpscaledFigures):
    """Result of POST /v1/upscale for a caller that accepts JSON."""

    image: str = Field(description="Enlarged image file in base64.")
    media_type: str
