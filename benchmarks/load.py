"""Overload, fairness and hang-ups against the real server on loopback, a plain endpoint beside it; writes LOAD.md.

python -m benchmarks.load [--seconds 60] [--out benchmarks]
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load_client import MEAN_PIXELS, Answer, client, closed_loop, open_loop, picture, post, probe
from benchmarks.load_report import write_report
from benchmarks.servers import Running, quantile, serving

LEVELS = (0.5, 0.8, 1.0, 1.5, 3.0)
SMALL, MIDDLE, LARGE = (256, 256), (512, 512), (4000, 5000)
TIMEOUT_SECONDS = 30
SEED = 0
STRIP = "denoise_strip_duration_seconds"
LAG = "denoise_event_loop_lag_seconds"


def main() -> None:
    """Measure both servers and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of arrivals at each level of load")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    results: dict[str, Any] = {"seconds": arguments.seconds, "seed": SEED, "timeout_seconds": TIMEOUT_SECONDS}
    with serving(timeout_seconds=TIMEOUT_SECONDS) as service:
        capacity = asyncio.run(closed_loop(service.url, arguments.seconds / 2, 3, SEED))
        print(f"capacity {capacity / 1e6:.3f} MP/s")
        results["capacity"] = capacity
        results["service"] = [level(service, load, capacity, arguments.seconds) for load in LEVELS]
        results["overhead"] = asyncio.run(overhead(service))
    with serving(timeout_seconds=3600, queue_timeout_seconds=3600) as service:
        results["fairness"] = asyncio.run(fairness(service))
        results["hang_ups"] = asyncio.run(hang_ups(service))
    with serving("benchmarks.plain_server") as plain:
        results["plain"] = [level(plain, load, capacity, arguments.seconds) for load in LEVELS]
    with serving("benchmarks.plain_server") as plain:
        results["plain_fairness"] = asyncio.run(fairness(plain))
    (arguments.out / "load.json").write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, arguments.out)


def level(server: Running, load: float, capacity: float, seconds: float) -> dict[str, Any]:
    """One level of load: latencies by size, goodput, refusals, health meanwhile."""
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
    # Until the last good answer, for what was admitted at the end of the arrivals is computed after it.
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
    """(time, network pixels computed since the start), twice a second; nothing from a server that does not tell."""
    rows: list[tuple[float, float]] = []
    while not stop.is_set():
        pixels = await asyncio.to_thread(server.metric, "denoise_pixels_total")
        rows.append((time.monotonic(), pixels))
        await asyncio.sleep(0.5)
    return rows


def retry_after_ratios(answers: list[Answer], served: list[tuple[float, float]]) -> list[float]:
    """Retry-After over the time that the pixels ahead really took, for each refusal whose queue was seen to be served."""
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
    """The share of a 512 x 512 PNG's wall time that is not inference."""
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
    """Latency of small images alone, then with three images of 20 megapixels in the queue."""
    async with client(600) as http:
        await post(http, server.url, SMALL)
        alone = [(await post(http, server.url, SMALL)).seconds for _ in range(10)]
        large = [asyncio.create_task(post(http, server.url, LARGE)) for _ in range(3)]
        await asyncio.sleep(8)  # until they are decoded and begun
        strips, seconds = server.metric(f"{STRIP}_count"), server.metric(f"{STRIP}_sum")
        await asyncio.sleep(4)  # of strips of the large ones alone
        strips, seconds = server.metric(f"{STRIP}_count") - strips, server.metric(f"{STRIP}_sum") - seconds
        behind = []
        for _ in range(30):
            behind.append((await post(http, server.url, SMALL)).seconds)
            if behind[-1] > 30:
                break  # one wait says enough of a server that makes the small wait for the large
            await asyncio.sleep(0.2)
        assert not any(task.done() for task in large), "the large images were done too early to tell"
        for task in large:
            task.cancel()
        await asyncio.gather(*large, return_exceptions=True)
    return {
        "alone_p95": float(np.quantile(alone, 0.95)),
        "behind_large": behind,
        "behind_large_p95": float(np.quantile(behind, 0.95)),
        "strip": seconds / strips if strips else None,
    }


async def hang_ups(service: Running) -> dict[str, float]:
    """Fifty clients hang up while their images are computed or wait; how long the next one takes."""
    async with client(600) as http:
        alone = [(await post(http, service.url, SMALL)).seconds for _ in range(10)]
        gone = [asyncio.create_task(post(http, service.url, (768, 1024))) for _ in range(50)]
        await asyncio.sleep(4)  # until all are admitted and the first is being computed
        assert service.metric("denoise_queue_jobs") >= 45, "too few images were still to be computed"
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
