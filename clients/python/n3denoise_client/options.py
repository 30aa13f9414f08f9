"""Options of the requests, with the names and defaults of the service; docs/api.md explains each."""

from typing import Literal, Required, TypedDict

Color = Literal["gray", "rgb"]
Format = Literal["png", "jpeg", "webp", "avif", "tiff", "bmp"]
Depth = Literal["8", "16", "float"]
Model = Literal["n3unet", "n3net", "photo", "dncnn", "nlm"]


Metadata = Literal["no-gps", "keep", "strip"]
Factor = Literal[2, 3, 4]


class ResultOptions(TypedDict, total=False):
    """Options for the result of a background job."""

    format: Format
    depth: Depth
    strength: float


class DenoiseOptions(ResultOptions, total=False):
    """Options for denoising a picture, at once or in the background."""

    sigma: float | Literal["auto"]
    noise: Literal["gaussian", "poisson"]
    gain: float | Literal["auto"]
    read_noise: float | Literal["auto"]
    model: Literal["auto"] | Model
    color: Color
    luma_strength: float
    chroma_strength: float
    detail: float
    ensemble: bool
    noise_map: bool
    metadata: Metadata


class UpscaleOptions(TypedDict, total=False):
    """Options for enlarging a picture, at once or in the background."""

    factor: Factor
    sigma: float | Literal["auto"]
    ensemble: bool
    format: Format
    depth: Depth
    metadata: Metadata


class JobOptions(DenoiseOptions, total=False):
    """Options for a background job: what it does, and the options for that."""

    task: Literal["denoise", "upscale"]
    factor: Factor


class NoiseOptions(TypedDict, total=False):
    """Options for estimating the noise of a picture."""

    color: Color
    noise_map: bool


class EvaluateOptions(TypedDict, total=False):
    """Options for adding noise to a clean picture and denoising it."""

    sigma: float
    seed: int
    model: Model
    color: Color
    ensemble: bool


class NeighborOptions(TypedDict, total=False):
    """Options for finding the patches that the network averages for one pixel."""

    x: Required[int]
    y: Required[int]
    block: int
    sigma: float | Literal["auto"]
    model: Literal["n3unet", "n3net", "photo"]


class ListOptions(TypedDict, total=False):
    """Options for listing background jobs."""

    limit: int
    after: str
