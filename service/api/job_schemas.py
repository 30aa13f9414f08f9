"""Options of requests for background jobs, and bodies of responses."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.api.schemas import DenoisedFigures, Problem, Share
from service.api.upscale_schemas import UpscaledFigures
from service.imaging.picture import FORMAT_ALIASES, Depth, Format
from service.jobs.state import JobState, Status

Task = Literal["denoise", "upscale"]


class TaskOption(BaseModel):
    """The option of a background job that says what it does."""

    task: Annotated[
        Task, Field(description="What to do. Each task takes the options of its own route, with the defaults there.")
    ] = "denoise"


class ResultOptions(BaseModel):
    """Options for GET /v1/jobs/{job_id}/result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[
        Format | None,
        BeforeValidator(lambda name: FORMAT_ALIASES.get(name, name)),
        Field(description="Format of the file; by default the one that the job was asked for. jpg means jpeg, tif means tiff."),
    ] = None
    depth: Annotated[Depth | None, Field(description="Depth of the file; by default that of the input.")] = None
    strength: Annotated[
        Share,
        Field(
            description=(
                "Blend of the input (0) and the result of the job (1); the input of an enlarged picture is enlarged bicubically."
            )
        ),
    ] = 1.0


class ListOptions(BaseModel):
    """Options for GET /v1/jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of jobs in the response.")] = 20
    after: Annotated[str | None, Field(description="The value of `next` in the previous response.")] = None


class JobLinks(BaseModel):
    """Paths of a job."""

    self: str
    result: str
    events: str


class Job(BaseModel):
    """A background job."""

    id: str
    status: Status = Field(
        description=(
            "queued, running, succeeded, failed or canceled; expired when the result of a job that succeeded is no longer kept."
        )
    )
    progress: float = Field(description="Fraction of the computation that is done, from 0 to 1.")
    eta_seconds: float | None = Field(
        description=(
            "Estimated time until the job ends, from the measured speed of the device and its queue; null once it has ended."
        )
    )
    created_at: datetime
    started_at: datetime | None = Field(description="When the device began to compute.")
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="Until when the result is kept.")
    figures: DenoisedFigures | UpscaledFigures | None = Field(
        description="What POST /v1/denoise or POST /v1/upscale would say about the result; null without a result."
    )
    error: Problem | None = Field(description="Why the job failed, or why the service canceled it.")
    links: JobLinks

    @classmethod
    def of(cls, state: JobState) -> Self:
        """Return what callers see of a state."""
        path = f"/v1/jobs/{state.id}"
        fields: dict[str, Any] = {name: getattr(state, name) for name in cls.model_fields if name != "links"}
        return cls.model_validate(fields | {"links": JobLinks(self=path, result=f"{path}/result", events=f"{path}/events")})


class Jobs(BaseModel):
    """Background jobs of one caller."""

    jobs: list[Job]
    next: str | None = Field(description="Value of `after` for the request for more jobs; null if there are no more.")


ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": Job,
        "description": "The job was accepted.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Path of the job."},
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds after which to ask for the state."},
        },
    }
}
