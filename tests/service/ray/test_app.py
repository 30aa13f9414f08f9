"""The application for Ray Serve: its arguments, and what they make of a deployment."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from service.api.app import create_app
from service.engine.engine import Engine
from service.errors import DeviceLost
from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.support.live import settings_for, wait_for

pytest.importorskip("ray", reason="needs the extra ray: pip install -e '.[ray]'")

from service.ray.app import Arguments, build
from service.ray.replica import Replica, _finish_jobs


def deployment(**arguments: Any) -> Any:
    return build(Arguments.model_validate(arguments))._bound_deployment


def test_admission_and_the_grace_period_stay_those_of_the_service() -> None:
    built = deployment(settings={"queue_requests": 100, "grace_seconds": 90})
    assert built.max_ongoing_requests > 100
    assert built._deployment_config.graceful_shutdown_timeout_s > 90


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, "1"), (1, "1"), (6, "6"), (7.5, "7")])
def test_a_replica_has_as_many_threads_as_cores(cpus: float, threads: str) -> None:
    options = deployment(num_cpus=cpus, num_gpus=0.5).ray_actor_options
    assert options["num_cpus"] == cpus
    assert options["num_gpus"] == 0.5
    assert options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == threads


def test_autoscaling_is_by_waiting_work_if_the_bounds_leave_a_choice() -> None:
    assert deployment(min_replicas=2, max_replicas=2).num_replicas == 2
    scaling = deployment(max_replicas=5, target_seconds=7)._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 5)
    assert scaling.policy.policy_kwargs == {"target_seconds": 7}
    assert "WaitingWork" in scaling.policy.policy_function


@pytest.mark.parametrize("missing", ["AutoscalingPolicy", "AutoscalingContext.aggregated_metrics"])
def test_autoscaling_is_by_requests_if_ray_takes_no_policy(
    missing: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def scaling() -> Any:
        return deployment(max_replicas=5, target_seconds=7)._deployment_config.autoscaling_config

    assert not scaling().policy.is_default_policy_function()
    assert "ongoing requests" not in "".join(capfd.readouterr())
    monkeypatch.delattr(f"ray.serve.config.{missing}")  # as in a version of Ray without the interface
    assert scaling().policy.is_default_policy_function()
    assert (scaling().min_replicas, scaling().max_replicas) == (1, 5)
    assert "ongoing requests" in "".join(capfd.readouterr())


def test_several_replicas_without_redis_are_a_reason_to_warn(capfd: pytest.CaptureFixture[str]) -> None:
    def said(**arguments: Any) -> str:
        deployment(**arguments)
        return "".join(capfd.readouterr())

    assert "N3DENOISE_JOBS_URL" in said(max_replicas=2)
    assert "N3DENOISE_JOBS_URL" not in said()
    assert "N3DENOISE_JOBS_URL" not in said(max_replicas=2, settings={"jobs_url": "redis://localhost:6379/0"})


@pytest.mark.parametrize("wrong", [{"replicas": 3}, {"num_cpus": 0}, {"min_replicas": 3, "max_replicas": 2}])
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Arguments.model_validate(wrong)


def test_a_lost_device_makes_a_replica_unhealthy(weights: Path) -> None:
    def load(*_: object) -> Any:
        raise ValueError("no such device")

    async def check(settings: Settings) -> None:
        replica = Replica()
        replica.app = create_app(settings, Engine(settings, Metrics(), load))
        async with replica.app.router.lifespan_context(replica.app):
            await asyncio.to_thread(wait_for, lambda: replica.app.state.context.engine.lost)
            await replica.check_health()

    with pytest.raises(DeviceLost):
        asyncio.run(check(settings_for(weights)))


@pytest.mark.parametrize(("shared", "asked"), [(True, 3), (False, 0)])
def test_a_replica_finishes_background_jobs_whose_results_others_can_return(shared: bool, asked: int) -> None:
    answers = [True, True, False]

    class Jobs:
        store = SimpleNamespace(shared=shared)

        @property
        def busy(self) -> bool:
            return answers.pop(0)

    asyncio.run(_finish_jobs(Jobs(), 60))  # type: ignore[arg-type]
    assert len(answers) == 3 - asked
