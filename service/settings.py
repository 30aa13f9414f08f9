"""All settings of the service, read once from environment variables with the prefix N3DENOISE_."""

import hashlib
import re
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
DEFAULT_MODEL: Final = "n3unet"
"""The model for white noise, if the caller names none."""
PHOTO_MODEL = "photo"
"""The model for the noise of photographs, whose network also estimates noise."""
UPSCALE_MODEL = "upscale"
"""The model that enlarges pictures."""
AUTO = "auto"
"""The choice between the default model and the one for photographs."""


class Settings(BaseSettings):
    """The settings and their defaults. An invalid value is an error at startup."""

    model_config = SettingsConfigDict(env_prefix="N3DENOISE_", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 stands for all IPv4 addresses of this machine.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free port.")

    weights: str = Field(
        "default",
        description=(
            "Weights of the default model, n3unet: a name in models/weights or the path of a safetensors file. Weights other "
            "than its own also denoise color, as luma and two color differences."
        ),
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Compute device: auto (CUDA if PyTorch finds a GPU, otherwise the CPU), cpu or cuda."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description=(
            "Data type of the convolutions: auto (the fastest one that the device computes well), float32, bfloat16 or float16."
        ),
    )
    require_gpu: bool = Field(default=False, description="Refuse to start without a GPU, instead of using the CPU.")
    memory_budget_mib: int | None = Field(
        None,
        ge=1,
        description=(
            "Working memory for denoising in MiB, not counting the images; by default a quarter of the free memory, from "
            "256 MiB to 1 GiB on a CPU and at most 4 GiB on a GPU. The service refuses to start with a budget that would make "
            "the network many times slower; the message names the smallest budget that works."
        ),
    )

    max_body_mib: float = Field(32, gt=0, description="Maximum size of a request body in MiB; a larger one gets status 413.")
    max_uploads_mib: float = Field(
        512,
        gt=0,
        description=(
            "Maximum size in MiB of all request bodies, and of all responses that clients are slow to read, held at the same "
            "time; a request beyond it gets status 429."
        ),
    )
    max_megapixels: float = Field(
        40,
        gt=0,
        description=(
            "Maximum size of an image in megapixels, checked in its header before anything is decoded; a larger one gets "
            "status 413. It also limits the size of an enlarged image."
        ),
    )
    max_channels: int = Field(
        16, ge=3, description="Maximum number of channels of an image, not counting alpha; one with more gets status 415."
    )
    max_header_kib: int = Field(
        16, ge=1, description="Maximum size of the request line and the headers together in KiB; larger ones get status 431."
    )
    max_form_fields: int = Field(24, ge=1, description="Maximum number of parts in a multipart form.")
    header_timeout_seconds: float = Field(
        10, gt=0, description="Time within which the headers of a request must arrive; then the connection is closed."
    )
    body_timeout_seconds: float = Field(
        60,
        gt=0,
        description=(
            "Time within which the body of a request must arrive, if the limit on the whole request is not shorter; then "
            "the response is 408. If the response is sent before the body is complete, the rest of the body must arrive "
            "within the same time again; then the connection is closed."
        ),
    )
    keep_alive_seconds: int = Field(
        15,
        ge=1,
        description="Time after which a connection is closed if it is idle, or if its client does not read the response.",
    )

    queue_requests: int = Field(64, ge=1, description="Maximum number of admitted requests; a further one gets status 429.")
    queue_megapixels: float = Field(
        200,
        gt=0,
        description=(
            "Maximum size in megapixels of all admitted images together, references and masks included; every further four "
            "channels of an image count as much again; a request beyond it gets status 429."
        ),
    )
    interleave_images: int = Field(
        4, ge=1, description="Maximum number of images that the device computes in turns, strip by strip."
    )
    queue_timeout_seconds: float = Field(
        240, gt=0, description="Maximum time that a request waits for its first strip; then the response is 504."
    )
    timeout_seconds: float = Field(300, gt=0, description="Maximum duration of a request; then the response is 504.")
    jobs_url: str = Field(
        "",
        pattern=r"^$|^rediss?://",
        description=(
            "Redis server that keeps background jobs, as `redis://HOST:PORT/DATABASE`, so that any instance answers for any job; "
            "if empty, each instance keeps its own jobs in memory."
        ),
    )
    jobs_mib: float = Field(
        1024,
        gt=0,
        description="Maximum size of the results of all background jobs together; a further job gets status 429.",
    )
    job_keep_seconds: float = Field(900, gt=0, description="Time for which the result of a background job is kept.")
    job_timeout_seconds: float = Field(3600, gt=0, description="Maximum duration of a background job; then it fails.")
    codec_threads: int = Field(
        2,
        ge=1,
        description=(
            "Number of threads for each stage that runs outside the device (read, decode, encode). Images below one "
            "megapixel have as many threads of their own, so that they never wait for large images to be decoded or "
            "encoded."
        ),
    )

    idle_selftest_seconds: float = Field(300, gt=0, description="Idle time after which the self-test of the device runs again.")
    hang_seconds: float = Field(
        60,
        gt=0,
        description=(
            "Time after which the computation of a strip counts as hung; then `/livez` returns 503. After the same time, "
            "reading, decoding or encoding one image counts as stuck; then `/readyz` returns 503."
        ),
    )
    drain_delay_seconds: float = Field(
        3,
        ge=0,
        description=(
            "Minimum time after SIGTERM for which the service keeps listening, so that the load balancer can see that it "
            "is not ready."
        ),
    )
    grace_seconds: float = Field(60, gt=0, description="Maximum time after SIGTERM for admitted requests to finish.")

    api_key_hashes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="SHA-256 hashes of the accepted API keys, in hexadecimal, comma-separated; if empty, no key is required."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose web pages may call the service from a browser, comma-separated; if empty, CORS is off."
    )
    web_concurrency: int = Field(
        1,
        validation_alias="WEB_CONCURRENCY",
        description="Number of processes, which must be 1; this variable has no prefix, because hosting platforms set it.",
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Format of log messages: console (for people) or json (for machines)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level of log messages: debug, info, warning or error."
    )

    @field_validator("api_key_hashes", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("api_key_hashes")
    @classmethod
    def _sha256(cls, hashes: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[0-9a-fA-F]{64}", digest) for digest in hashes):
            raise ValueError("each value must be the SHA-256 hash of a key (64 hexadecimal digits), not the key itself")
        if hashlib.sha256(b"").hexdigest() in map(str.lower, hashes):
            raise ValueError("one value is the SHA-256 hash of the empty string, which would accept requests without a key")
        return tuple(digest.lower() for digest in hashes)

    @field_validator("web_concurrency")
    @classmethod
    def _one_process(cls, count: int) -> int:
        # Two processes would each load the weights and compete for the device, and the queue knows only its own process.
        if count != 1:
            raise ValueError("run one process per device; for more throughput, run more instances of the service")
        return count

    @property
    def max_body_bytes(self) -> int:
        """Maximum size of a request body in bytes."""
        return int(self.max_body_mib * MIB)

    @property
    def body_seconds(self) -> float:
        """Time within which a body must arrive; it is part of the time for the whole request."""
        return min(self.body_timeout_seconds, self.timeout_seconds)

    @property
    def max_uploads_bytes(self) -> int:
        """Maximum size in bytes of all request bodies and unread responses that are held at the same time."""
        return int(self.max_uploads_mib * MIB)

    @property
    def jobs_bytes(self) -> int:
        """Maximum size in bytes of the results of all background jobs together."""
        return int(self.jobs_mib * MIB)

    @property
    def queue_pixels(self) -> int:
        """Maximum number of pixels of all admitted images together."""
        return int(self.queue_megapixels * 1e6)

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image."""
        return int(self.max_megapixels * 1e6)
