"""What the service answers as JSON. Noise levels are on the 0-255 scale, and PSNR is in dB; docs/api.md explains the rest."""

from datetime import datetime
from typing import Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict


class Answer(BaseModel):
    """The base of all answers. Members that a newer service adds are ignored."""

    model_config = ConfigDict(frozen=True)


class FigurePair(Answer):
    """Quality of a picture against the reference. PSNR is None if it is infinite, SSIM if the picture is too small."""

    psnr: float | None
    ssim: float | None


class Warned(Answer):
    """A conversion, or a reason to doubt an estimate or a result."""

    code: str
    detail: str


class Noise(Answer):
    """The estimated noise of a picture."""

    sigma: float
    confidence: float
    warnings: tuple[Warned, ...]


class PlaneLevel(Answer):
    """The noise level of one plane; None if no network processed the plane."""

    plane: str
    sigma: float | None


class NoiseByPlane(Noise):
    """The estimated noise of a picture and of each plane, with the noise level map as a PNG file if it was asked for."""

    sigmas: tuple[PlaneLevel, ...]
    noise_map: Base64Bytes | None


class PhotonNoiseUsed(Answer):
    """Photon noise of the variance gain x (signal - offset) + read_noise²."""

    gain: float
    read_noise: float
    offset: float


class DenoisedFigures(Answer):
    """All that the service says about a denoised picture."""

    width: int
    height: int
    sigma: float
    sigmas: tuple[PlaneLevel, ...]
    noise_map: Base64Bytes | None
    noise: Noise | None
    photon_noise: PhotonNoiseUsed | None
    warnings: tuple[Warned, ...]
    model: str
    weights_sha256: str | None
    device: str
    noisy: FigurePair | None
    denoised: FigurePair | None
    denoised_floats: FigurePair | None
    gain: FigurePair | None


class UpscaledFigures(Answer):
    """All that the service says about an enlarged picture."""

    width: int
    height: int
    factor: int
    sigma: float
    sigmas: tuple[PlaneLevel, ...]
    noise: Noise | None
    warnings: tuple[Warned, ...]
    model: str
    weights_sha256: str | None
    device: str
    bicubic: FigurePair | None
    upscaled: FigurePair | None
    upscaled_floats: FigurePair | None
    gain: FigurePair | None


class Evaluated(Answer):
    """The figures of a picture that noise was added to, and both pictures as PNG files."""

    sigma: float
    seed: int
    width: int
    height: int
    model: str
    weights_sha256: str | None
    device: str
    noisy: FigurePair
    denoised: FigurePair
    gain: FigurePair
    noisy_image: Base64Bytes
    denoised_image: Base64Bytes


class Place(Answer):
    """The top left corner of a patch, in pixels; a patch at the border may begin outside the picture."""

    x: int
    y: int


class Candidate(Place):
    """A patch and its weight."""

    weight: float


class Neighbor(Answer):
    """One of the k neighbors, with all candidates, the heaviest first."""

    index: int
    candidates: tuple[Candidate, ...]


class Neighbors(Answer):
    """The patches that an N3 block averages for one pixel."""

    width: int
    height: int
    model: str
    weights_sha256: str | None
    device: str
    sigma: float
    block: int
    blocks: int
    x: int
    y: int
    patch_size: int
    query: Place
    temperature: float
    neighbors: tuple[Neighbor, ...]


class ModelCard(Answer):
    """One available model."""

    name: str
    task: Literal["denoise", "upscale"]
    weights: str | None
    weights_sha256: str | None
    color_weights_sha256: str | None
    device: str
    sigma_min: float
    sigma_max: float
    facts: dict[str, str]


class Models(Answer):
    """All available models."""

    models: tuple[ModelCard, ...]


class Limits(Answer):
    """Limits of what the service accepts."""

    max_body_bytes: int
    max_pixels: int
    max_channels: int
    formats: tuple[str, ...]
    queue_requests: int
    interleave_images: int
    timeout_seconds: float
    queue_timeout_seconds: float
    jobs_bytes: int
    job_keep_seconds: float
    job_timeout_seconds: float


class Info(Answer):
    """Versions, device, default model and limits of the service."""

    version: str
    python: str
    torch: str
    device: str
    device_name: str
    dtype: str
    fallback_reason: str | None
    model: str
    weights_sha256: str | None
    pixels_per_second: float | None
    limits: Limits


class Problem(Answer):
    """An error as a problem document (RFC 9457). Some have further members, such as a limit."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str


class JobLinks(Answer):
    """Paths of a job."""

    self: str
    result: str
    events: str


class Job(Answer):
    """The state of a background job."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    progress: float
    eta_seconds: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    figures: DenoisedFigures | UpscaledFigures | None
    error: Problem | None
    links: JobLinks

    @property
    def ended(self) -> bool:
        """Whether the job has ended; its state then only changes to expired."""
        return self.status not in ("queued", "running")


class Jobs(Answer):
    """Background jobs of one API key."""

    jobs: tuple[Job, ...]
    next: str | None
