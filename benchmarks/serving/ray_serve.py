"""The service on Ray Serve under load: a replica is killed, the deployment is updated, and replicas are added and removed.

`python -m benchmarks.serving.ray_serve` writes ray.json, ray.md and ray.svg.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.provenance import RESULTS, provenance
from benchmarks.serving.load_client import MEAN_PIXELS, Answer, closed_loop, open_loop
from benchmarks.serving.ray_cluster import cluster, deploy, deployed, replica_processes, replicas, wait_for_replicas
from benchmarks.serving.ray_report import write_report
from service.settings import DEFAULT_MODEL

REPLICAS = 3
LOAD = 0.7
"""Load as a multiple of the capacity of all replicas: two of three replicas are then close to their limit."""
SETTINGS = {"timeout_seconds": 60, "log_level": "warning"}
SEED = 0


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="duration of the arrivals in each measurement")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "when": provenance(),
        "model": DEFAULT_MODEL,
        "seconds": arguments.seconds,
        "replicas": REPLICAS,
        "load": LOAD,
    }
    with tempfile.TemporaryDirectory(prefix="r") as folder, cluster(Path(folder), cores=REPLICAS) as metrics:
        fixed: dict[str, Any] = {"settings": SETTINGS, "min_replicas": REPLICAS, "max_replicas": REPLICAS}
        with deployed(**fixed) as url:
            capacity = asyncio.run(closed_loop(url, arguments.seconds / 4, 3 * REPLICAS, SEED))
            print(f"capacity {capacity / 1e6:.3f} MP/s")
            results["capacity"] = capacity
            results["killed"] = disturbed(url, capacity, arguments.seconds, kill_one)
            print(json.dumps(results["killed"]))
            changed = fixed | {"settings": SETTINGS | {"keep_alive_seconds": 16}}
            results["updated"] = disturbed(url, capacity, arguments.seconds, lambda: deploy(**changed))
            print(json.dumps(results["updated"]))
        scaling = {"min_replicas": 1, "max_replicas": REPLICAS, "upscale_delay_seconds": 5, "downscale_delay_seconds": 20}
        with deployed(settings=SETTINGS, target_seconds=5, **scaling) as url:
            results["scaled"] = asyncio.run(step(url, metrics, 0.9 * capacity / MEAN_PIXELS, arguments.seconds))
    (arguments.out / "ray.json").write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, arguments.out)


def kill_one() -> None:
    """Kill one replica, and wait until another one has taken its place."""
    before = set(replica_processes())
    os.kill(random.Random(SEED).choice(sorted(before)), signal.SIGKILL)
    while len(set(replica_processes()) - before) == 0:
        time.sleep(0.1)
    wait_for_replicas(REPLICAS)


def disturbed(url: str, capacity: float, seconds: float, disturb: Callable[[], None]) -> dict[str, Any]:
    """Send mixed images, and do something to the deployment when a third of the time has passed."""
    return asyncio.run(_disturbed(url, capacity, seconds, disturb))


async def _disturbed(url: str, capacity: float, seconds: float, disturb: Callable[[], None]) -> dict[str, Any]:
    began = time.monotonic()
    arrivals = asyncio.create_task(open_loop(url, LOAD * capacity / MEAN_PIXELS, seconds, SEED, patience=120))
    await asyncio.sleep(seconds / 3)
    disturbed_at = time.monotonic()
    await asyncio.to_thread(disturb)
    settled_at = time.monotonic()
    answers = await arrivals
    statuses = sorted({answer.status for answer in answers})
    return {
        "requests": len(answers),
        "statuses": {str(status): sum(answer.status == status for answer in answers) for status in statuses},
        "without_retry_after": sum(answer.status in (429, 503) and not answer.retry_after for answer in answers),
        "unexpected": sum(answer.status not in (200, 429, 503) for answer in answers),
        "longest": max(answer.seconds for answer in answers),
        "settled_after": settled_at - disturbed_at,
        "goodput_before": goodput(answers, began, disturbed_at),
        "goodput_during": goodput(answers, disturbed_at, settled_at),
        "goodput_after": goodput(answers, settled_at, began + seconds),
    }


def goodput(answers: list[Answer], begin: float, end: float) -> float | None:
    """Return the pixels per second of the good answers between two times; None if the second is not later."""
    good = sum(answer.pixels for answer in answers if answer.status == 200 and begin <= answer.ended < end)
    return good / (end - begin) if end > begin else None


async def step(url: str, metrics: str, per_second: float, seconds: float) -> dict[str, Any]:
    """Send more than one replica can compute, then nothing, and sample the number of replicas and the waiting work."""
    series: list[tuple[float, int, float]] = []
    began = time.monotonic()
    arrivals = asyncio.create_task(open_loop(url, per_second, seconds, SEED, patience=120))
    stopped: float | None = None
    end = began + 4 * seconds
    while stopped is None or time.monotonic() < end:
        states = await asyncio.to_thread(replicas)
        waiting = await asyncio.to_thread(queue_seconds, metrics)
        series.append((time.monotonic() - began, states.get("RUNNING", 0), waiting))
        await asyncio.sleep(1)
        if arrivals.done() and stopped is None:
            stopped = time.monotonic() - began
        if stopped and states == {"RUNNING": 1}:
            end = min(end, time.monotonic() + 10)  # so that the plot shows it
    answers = arrivals.result()
    statuses = sorted({answer.status for answer in answers})
    return {
        "statuses": {str(status): sum(answer.status == status for answer in answers) for status in statuses},
        "stopped": stopped,
        "series": series,
    }


def queue_seconds(metrics: str) -> float:
    """Return the seconds of work that wait in all replicas together, as Ray exports them."""
    text = httpx2.get(metrics, timeout=30).text
    return sum(float(value) for value in re.findall(r"^ray_denoise_queue_seconds{.*} (\S+)$", text, re.MULTILINE))


if __name__ == "__main__":
    main()
