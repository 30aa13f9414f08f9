"""Every setting of the service, read once from environment variables with the prefix N3DENOISE_."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
DEFAULT_MODEL = "n3net"


class Settings(BaseSettings):
    """Settings with their defaults; an unknown or impossible value is an error at start, never a surprise later."""

    model_config = SettingsConfigDict(env_prefix="N3DENOISE_", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")

    weights: str = Field("default", description="Weights to serve: a name in models/weights or a safetensors file.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where torch sees it, else CPU.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the convolutions; auto takes the fastest the device does well."
    )
    require_gpu: bool = Field(default=False, description="Refuse to start when auto finds no GPU, instead of using the CPU.")
    memory_budget_mib: int | None = Field(
        None, ge=1, description="Working memory of the network beside the images; by default a share of what is free."
    )

    max_body_mib: float = Field(32, gt=0, description="Largest request body.")
    max_uploads_mib: float = Field(512, gt=0, description="Largest sum of the request bodies held at once.")
    max_megapixels: float = Field(40, gt=0, description="Largest image, width x height x frames from its header.")
    max_header_kib: int = Field(16, ge=1, description="Largest request line and headers together.")
    max_form_fields: int = Field(16, ge=1, description="Most parts in a multipart form.")
    header_timeout_seconds: float = Field(10, gt=0, description="Time in which a request's headers must arrive.")
    body_timeout_seconds: float = Field(60, gt=0, description="Time in which a request's body must arrive.")
    keep_alive_seconds: int = Field(15, ge=1, description="How long an idle connection stays open.")

    queue_requests: int = Field(64, ge=1, description="Most requests admitted at once; more get 429.")
    queue_megapixels: float = Field(
        200, gt=0, description="Most pixels of admitted images, which are held decoded: 4 to 16 bytes each; more get 429."
    )
    interleave_images: int = Field(4, ge=1, description="Most images whose strips interleave on the device.")
    queue_timeout_seconds: float = Field(240, gt=0, description="Longest wait before the first strip.")
    timeout_seconds: float = Field(300, gt=0, description="Longest time of a request in all; past it the answer is 504.")
    codec_threads: int = Field(
        2, ge=1, description="Threads for each stage of a picture off the device, and as many again for small ones."
    )

    idle_selftest_seconds: float = Field(300, gt=0, description="Idle time after which the self-test runs again.")
    hang_seconds: float = Field(60, gt=0, description="A strip that takes longer counts as hung: /livez turns 503.")
    drain_delay_seconds: float = Field(3, ge=0, description="After SIGTERM, how long the listener stays open.")
    grace_seconds: float = Field(60, gt=0, description="After SIGTERM, how long accepted work may take to finish.")

    api_key_hashes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="SHA-256 in hex of each accepted API key, comma-separated; empty leaves the service open."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins browsers may call from, comma-separated; empty turns CORS off."
    )
    web_concurrency: int = Field(
        1, validation_alias="WEB_CONCURRENCY", description="Processes; this variable has no prefix, and only 1 is accepted."
    )
    log_format: Literal["console", "json"] = Field("console", description="Lines for people or for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("api_key_hashes", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("api_key_hashes")
    @classmethod
    def _sha256(cls, hashes: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[0-9a-fA-F]{64}", digest) for digest in hashes):
            raise ValueError("each must be the SHA-256 of a key, 64 hexadecimal digits, not the key itself")
        return tuple(digest.lower() for digest in hashes)

    @field_validator("web_concurrency")
    @classmethod
    def _one_process(cls, count: int) -> int:
        # Two processes would each load the weights and fight for the device, and the queue's promises hold in one only.
        if count != 1:
            raise ValueError("run one process a device and let the orchestrator add more")
        return count

    @property
    def max_body_bytes(self) -> int:
        """Largest request body."""
        return int(self.max_body_mib * MIB)

    @property
    def body_seconds(self) -> float:
        """Time in which a body must arrive, which is part of the time in all."""
        return min(self.body_timeout_seconds, self.timeout_seconds)

    @property
    def max_uploads_bytes(self) -> int:
        """Largest sum of request bodies."""
        return int(self.max_uploads_mib * MIB)

    @property
    def queue_pixels(self) -> int:
        """Most pixels of admitted images."""
        return int(self.queue_megapixels * 1e6)

    @property
    def max_pixels(self) -> int:
        """Largest image."""
        return int(self.max_megapixels * 1e6)
