"""A Ray cluster on this machine, with the service in Ray Serve."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import serve

from benchmarks.serving.servers import free_port
from service.ray.app import NAME, Arguments, build

ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.ray.proxy:middlewares",
    # A busy machine starts a proxy in more than the five seconds after which Ray Serve would start it again.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # Replicas report to the autoscaler this often, instead of every ten seconds, so that a measurement or a test takes less time.
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def cluster(folder: Path, cores: int = 2) -> Iterator[str]:
    """Run Ray until the context ends; yield the address of its metrics.

    Args:
        folder: Where Ray keeps its files; the path must be short, because Ray's sockets are there.
        cores: Number of cores that replicas can have together.
    """
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    port = free_port()
    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        object_store_memory=80 << 20,
        log_to_driver=False,
        _temp_dir=str(folder),
        _metrics_export_port=port,
    )
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        serve.shutdown()
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def deployed(**arguments: Any) -> Iterator[str]:
    """Run the service on the cluster until the context ends; yield the address of Ray Serve's HTTP proxy.

    Args:
        arguments: Those of `Arguments`.
    """
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    deploy(**arguments)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()


def deploy(**arguments: Any) -> None:
    """Deploy the service, in place of one that runs, and wait until it is ready."""
    serve.run(build(Arguments.model_validate(arguments)), name=NAME, route_prefix="/")


def replicas() -> dict[str, int]:
    """Return the number of replicas by their state."""
    states: dict[str, int] = serve.status().applications[NAME].deployments[NAME].replica_states
    return {str(state): count for state, count in states.items()}


def replica_processes() -> list[int]:
    """Return the process IDs of the replicas of the cluster that this process started."""
    parents: dict[int, int] = {}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # of processes that end now
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::ServeReplica"):
                found.append(int(folder.name))

    def ours(process: int) -> bool:
        return process == os.getpid() or (process in parents and ours(parents[process]))

    return [process for process in found if ours(process)]


def wait_for_replicas(count: int, seconds: float = 120) -> None:
    """Wait until this number of replicas runs, and none starts or stops.

    Raises:
        TimeoutError: If that takes longer than the given time.
    """
    end = time.monotonic() + seconds
    while replicas() != {"RUNNING": count}:
        if time.monotonic() > end:
            raise TimeoutError(f"{count} replicas wanted, but there are {replicas()}")
        time.sleep(0.1)
