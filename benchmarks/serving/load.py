"""Behavior of a real server under overload, with large images in the queue, and after disconnects, beside a plain endpoint.

`python -m benchmarks.serving.load` writes load.json, load.md and two plots.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.provenance import RESULTS, provenance
from benchmarks.serving.load_client import MEAN_PIXELS, Answer, client, closed_loop, open_loop, picture, post, probe
from benchmarks.serving.load_report import write_report
from benchmarks.serving.servers import Running, quantile, serving
from service.settings import DEFAULT_MODEL

LEVELS = (0.5, 0.8, 1.0, 1.5, 3.0)
"""Levels of load, as multiples of the capacity."""
SMALL, MIDDLE, LARGE = (256, 256), (512, 512), (4000, 5000)
TIMEOUT_SECONDS = 30
SEED = 0
STRIP = "denoise_strip_duration_seconds"
LAG = "denoise_event_loop_lag_seconds"


def main() -> None:
    """Measure both servers and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="duration of the arrivals at each level of load")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "when": provenance(),
        "model": DEFAULT_MODEL,
        "seconds": arguments.seconds,
        "seed": SEED,
        "timeout_seconds": TIMEOUT_SECONDS,
    }
    with serving(timeout_seconds=TIMEOUT_SECONDS) as service:
        capacity = asyncio.run(closed_loop(service.url, arguments.seconds / 2, 3, SEED))
        print(f"capacity {capacity / 1e6:.3f} MP/s")
        results["capacity"] = capacity
        results["service"] = [level(service, load, capacity, arguments.seconds) for load in LEVELS]
        results["overhead"] = asyncio.run(overhead(service))
    with serving(timeout_seconds=3600, queue_timeout_seconds=3600) as service:
        results["fairness"] = asyncio.run(fairness(service))
        results["disconnects"] = asyncio.run(disconnects(service))
    with serving("benchmarks.serving.plain_server") as plain:
        results["plain"] = [level(plain, load, capacity, arguments.seconds) for load in LEVELS]
    with serving("benchmarks.serving.plain_server") as plain:
        results["plain_fairness"] = asyncio.run(fairness(plain))
    (arguments.out / "load.json").write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, arguments.out)


def level(server: Running, load: float, capacity: float, seconds: float) -> dict[str, Any]:
    """Measure one level of load: latencies by image size, goodput, refusals, and the health endpoint meanwhile."""
    before = server.buckets(LAG)
    row = asyncio.run(_level(server, load * capacity / MEAN_PIXELS, seconds, load))
    row["loop_lag_p99"] = quantile({bound: count - before[bound] for bound, count in server.buckets(LAG).items()}, 0.99)
    print(json.dumps({key: value for key, value in row.items() if key != "latency"}))
    return row


async def _level(server: Running, per_second: float, seconds: float, load: float) -> dict[str, Any]:
    stop = asyncio.Event()
    health = asyncio.create_task(probe(server.url, "/livez", 0.1, stop))
    counter = asyncio.create_task(_count_pixels(server, stop))
    began = time.monotonic()
    answers = await open_loop(server.url, per_second, seconds, SEED + int(load * 10), patience=4 * TIMEOUT_SECONDS)
    stop.set()
    live, served = await health, await counter
    good = [answer for answer in answers if answer.status == 200 and answer.seconds <= TIMEOUT_SECONDS]
    # Requests that were admitted near the end of the arrivals are computed after it, so the time runs until the last good answer.
    ended = max([began + seconds, *(answer.ended for answer in good)])
    return {
        "load": load,
        "requests": len(answers),
        "goodput": sum(answer.pixels for answer in good) / (ended - began),
        "statuses": {str(status): sum(answer.status == status for answer in answers) for status in {a.status for a in answers}},
        "late": sum(answer.seconds > TIMEOUT_SECONDS + 1 for answer in answers),
        "longest": max(answer.seconds for answer in answers),
        "livez_p99": float(np.quantile(live, 0.99)),
        "retry_after": retry_after_ratios(answers, served),
        "latency": {
            f"{height}x{width}": [*(float(np.quantile(seconds_of, share)) for share in (0.5, 0.95, 0.99)), len(seconds_of)]
            for height, width in sorted({answer.size for answer in good})
            if (seconds_of := [answer.seconds for answer in good if answer.size == (height, width)])
        },
    }


async def _count_pixels(server: Running, stop: asyncio.Event) -> list[tuple[float, float]]:
    """Return (time, pixels computed since the start), sampled twice a second; 0 pixels for a server without this metric."""
    rows: list[tuple[float, float]] = []
    while not stop.is_set():
        pixels = await asyncio.to_thread(server.metric, "denoise_pixels_total")
        rows.append((time.monotonic(), pixels))
        await asyncio.sleep(0.5)
    return rows


def retry_after_ratios(answers: list[Answer], served: list[tuple[float, float]]) -> list[float]:
    """Return Retry-After divided by the time that the pixels ahead took, for each refusal whose queue was seen to be finished."""
    times, pixels = np.array(served).T
    ratios = []
    for answer in answers:
        if answer.status == 429 and answer.queued:
            target = np.interp(answer.ended, times, pixels) + answer.queued
            if target <= pixels[-1]:
                took = float(np.interp(target, pixels, times)) - answer.ended
                ratios.append(answer.retry_after / took)
    return ratios


async def overhead(service: Running) -> dict[str, float]:
    """Measure the share of a request's duration that is not inference, for a 512 x 512 PNG."""
    shares = []
    async with client() as http:
        for _ in range(12):
            began = time.monotonic()
            answer = await http.post(f"{service.url}/v1/denoise", params={"sigma": 25}, content=picture(MIDDLE))
            wall = 1000 * (time.monotonic() - began)
            assert answer.status_code == 200, answer.text
            timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
            shares.append(1 - float(timing["infer"]) / wall)
    return {"share_outside_inference": float(np.median(shares[2:]))}


async def fairness(server: Running) -> dict[str, Any]:
    """Measure the latency of small images, first alone, then with three images of 20 megapixels in the queue."""
    async with client(600) as http:
        await post(http, server.url, SMALL)
        alone = [(await post(http, server.url, SMALL)).seconds for _ in range(10)]
        large = [asyncio.create_task(post(http, server.url, LARGE)) for _ in range(3)]
        await asyncio.sleep(8)  # until they are decoded and being computed
        strips, seconds = server.metric(f"{STRIP}_count"), server.metric(f"{STRIP}_sum")
        await asyncio.sleep(4)  # only strips of the large images are computed now
        strips, seconds = server.metric(f"{STRIP}_count") - strips, server.metric(f"{STRIP}_sum") - seconds
        behind = []
        for _ in range(30):
            behind.append((await post(http, server.url, SMALL)).seconds)
            if behind[-1] > 30:
                break  # one such wait shows that the server makes small images wait for large ones
            await asyncio.sleep(0.2)
        assert not any(task.done() for task in large), "the large images were finished too early to measure"
        for task in large:
            task.cancel()
        await asyncio.gather(*large, return_exceptions=True)
    return {
        "alone_p95": float(np.quantile(alone, 0.95)),
        "behind_large": behind,
        "behind_large_p95": float(np.quantile(behind, 0.95)),
        "strip": seconds / strips if strips else None,
    }


async def disconnects(service: Running) -> dict[str, float]:
    """Let 50 clients disconnect while their images are computed or wait, and measure how long the next request takes."""
    async with client(600) as http:
        alone = [(await post(http, service.url, SMALL)).seconds for _ in range(10)]
        gone = [asyncio.create_task(post(http, service.url, (768, 1024))) for _ in range(50)]
        await asyncio.sleep(4)  # until all are admitted and the first is being computed
        assert service.metric("denoise_queue_jobs") >= 45, "too few images were still in the queue"
        begun = service.metric("denoise_jobs_in_progress")
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        strips = service.metric(f"{STRIP}_count")
        after = await post(http, service.url, SMALL)
        left = service.metric("denoise_queue_jobs")
        strips = service.metric(f"{STRIP}_count") - strips
    return {"alone": float(np.median(alone)), "after": after.seconds, "begun": begun, "strips_computed": strips, "left": left}


if __name__ == "__main__":
    main()
