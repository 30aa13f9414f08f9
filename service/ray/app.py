"""The Ray Serve application: `serve run service.ray.app:build`, with the arguments of `Arguments`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.serve import config as serve_config

from service.ray.autoscaling import WaitingWork
from service.ray.replica import Replica, application
from service.settings import Settings
from service.telemetry.logs import log

NAME = "n3denoise"
_OTHER_REQUESTS = 64
"""Requests that a replica takes beside those that it admits, so that it can answer the ones that it refuses."""
_SPARE_SECONDS = 15
"""Time that a replica has to end after its own grace period."""


class Arguments(BaseModel):
    """What `args` of the configuration file of Ray Serve may contain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, Any] = Field(
        {},
        description=(
            "Settings of the service by their names without prefix, in lower case; others come from the environment of the node "
            "that builds the application."
        ),
    )
    num_cpus: float = Field(1, gt=0, description="CPU cores of each replica, which are also its threads.")
    num_gpus: float = Field(0, ge=0, description="GPUs of each replica: 0, 1, or a fraction if several replicas share one.")
    min_replicas: int = Field(1, ge=1, description="Minimum number of replicas.")
    max_replicas: int = Field(1, ge=1, description="Maximum number of replicas; if it is the minimum, there is no autoscaling.")
    target_seconds: float = Field(
        10, gt=0, description="Seconds of waiting work for each replica; above it, replicas are added, and below it, removed."
    )
    upscale_delay_seconds: float = Field(
        10, ge=0, description="Time for which the work must be too much before replicas are added."
    )
    downscale_delay_seconds: float = Field(
        300, ge=0, description="Time for which the work must be too little before replicas are removed."
    )

    @model_validator(mode="after")
    def _bounds(self) -> "Arguments":
        if self.max_replicas < self.min_replicas:
            raise ValueError("max_replicas must not be less than min_replicas")
        return self


def build(args: Arguments) -> Any:
    """Return the application for Ray Serve."""
    settings = Settings.model_validate(args.settings)
    if args.max_replicas > 1 and not settings.jobs_url:
        log().warning("background jobs need N3DENOISE_JOBS_URL, because each request may reach another replica")
    threads = str(max(1, int(args.num_cpus)))
    deployment = serve.deployment(
        serve.ingress(application(settings))(Replica),
        name=NAME,
        max_ongoing_requests=settings.queue_requests + _OTHER_REQUESTS,
        graceful_shutdown_timeout_s=settings.grace_seconds + _SPARE_SECONDS,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
        health_check_timeout_s=15,
        logging_config={"enable_access_log": False},  # the service writes its own
        ray_actor_options={
            "num_cpus": args.num_cpus,
            "num_gpus": args.num_gpus,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "MALLOC_ARENA_MAX": "2"}},
        },
        **_scaling(args),
    )
    return deployment.bind()


def _scaling(args: Arguments) -> dict[str, Any]:
    """Return the options of the deployment that say how many replicas it has."""
    if args.max_replicas == args.min_replicas:
        return {"num_replicas": args.min_replicas}
    scaling: dict[str, Any] = {
        "min_replicas": args.min_replicas,
        "max_replicas": args.max_replicas,
        "upscale_delay_s": args.upscale_delay_seconds,
        "downscale_delay_s": args.downscale_delay_seconds,
    }
    if _takes_policies():
        scaling["policy"] = {
            "policy_function": f"{WaitingWork.__module__}:{WaitingWork.__name__}",
            "policy_kwargs": {"target_seconds": args.target_seconds},
        }
    else:
        log().warning("this version of Ray Serve cannot scale by waiting work, so it scales by the number of ongoing requests")
    return {"autoscaling_config": scaling}


def _takes_policies() -> bool:
    """Return whether this version of Ray Serve has the interface that `WaitingWork` needs, which Ray may still change."""
    policy, context = (getattr(serve_config, name, None) for name in ("AutoscalingPolicy", "AutoscalingContext"))
    return "policy_kwargs" in getattr(policy, "model_fields", {}) and hasattr(context, "aggregated_metrics")
