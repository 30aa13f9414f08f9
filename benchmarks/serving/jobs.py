"""Background jobs under load: 20 clients that cancel and hang up at random, while an instance is terminated and started again.

`python -m benchmarks.serving.jobs` writes jobs.json and jobs.md: once for one instance that keeps its jobs in memory, and once
for two instances with Redis behind a proxy that takes turns. Further rounds without a termination show whether the
resident memory of the same processes grows.
"""

import argparse
import asyncio
import itertools
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from benchmarks.provenance import RESULTS, provenance
from benchmarks.serving.jobs_report import CLIENTS, JOBS_EACH, LAST_SECONDS, ROUNDS, page
from benchmarks.serving.load_client import picture
from benchmarks.serving.proxy import proxying
from benchmarks.serving.redis_server import redis_server
from benchmarks.serving.servers import Running, serving

SIZES = ((128, 128), (192, 256), (256, 256), (320, 384))
FINAL = ("succeeded", "failed", "canceled", "expired")
KEEP_SECONDS = 20


@dataclass
class Seen:
    """What the clients have seen.

    Attributes:
        finals: The final states of each job.
        refusals: Refused attempts by status.
        results: Number of results received.
        canceled_too_late: Number of jobs that had succeeded before they were canceled, and were forgotten without a result.
    """

    finals: dict[str, set[str]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    results: int = 0
    canceled_too_late: int = 0


async def client(url: str, seed: int, seen: Seen) -> None:
    """Send jobs one after another, cancel some of them, and hang up on some."""
    rng = random.Random(seed)
    # Each request has a connection of its own, so that the proxy takes turns.
    async with httpx2.AsyncClient(base_url=url, timeout=60, headers={"connection": "close"}) as http:
        for _ in range(JOBS_EACH):
            job_id, fate = uuid.UUID(int=rng.getrandbits(128)).hex, rng.choices(("wait", "cancel", "hang up"), (60, 20, 20))[0]
            seen.finals[job_id] = set()
            path, body = f"/v1/jobs/{job_id}", picture(rng.choice(SIZES))
            if fate == "hang up":
                await hang_up(url, path, body)
            await accepted(http, path, body, seen)
            if fate == "cancel":
                await asyncio.sleep(rng.uniform(0, 2))
                answer = await patiently(lambda path=path: http.delete(path))  # type: ignore[misc]
                assert answer.status_code == 200, answer.text
                seen.finals[job_id].add(answer.json()["status"])
                seen.canceled_too_late += answer.json()["status"] == "succeeded"
            await follow(http, path, job_id, seen)


async def hang_up(url: str, path: str, body: bytes) -> None:
    """Send a job and close the connection without reading the response."""
    parsed = httpx2.URL(url)
    with suppress(OSError):
        _, writer = await asyncio.open_connection(parsed.host, parsed.port)
        head = f"PUT {path}?sigma=25&model=n3unet HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


async def accepted(http: httpx2.AsyncClient, path: str, body: bytes, seen: Seen) -> None:
    """Send a job until it is accepted; the same ID makes it safe to repeat."""
    while True:
        answer = await patiently(lambda: http.put(path, content=body, params={"sigma": 25, "model": "n3unet"}))
        if answer.status_code in (200, 202):
            return
        assert answer.status_code in (429, 503), answer.text
        seen.refusals[str(answer.status_code)] += 1
        await asyncio.sleep(min(2.0, float(answer.headers["retry-after"])))


async def follow(http: httpx2.AsyncClient, path: str, job_id: str, seen: Seen) -> None:
    """Ask for the state of a job until it has ended, and a little longer, and receive its result."""
    after = 0
    while after < 3:
        answer = await patiently(lambda: http.get(path))
        if answer.status_code == 404:
            seen.finals[job_id] |= set() if seen.finals[job_id] else {"unknown"}
            return
        state = answer.json()
        if state["status"] in FINAL:
            seen.finals[job_id].add(state["status"])
            after += 1
            if after == 1 and state["status"] == "succeeded":
                result = await patiently(lambda: http.get(f"{path}/result"))
                seen.results += result.status_code == 200 and result.content[:4] == b"\x89PNG"
        await asyncio.sleep(0.2)


async def patiently(request: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """Repeat a request while the connection fails, as while an instance starts again."""
    while True:
        try:
            return await request()
        except httpx2.TransportError:
            await asyncio.sleep(0.2)


def run(redis: bool) -> dict[str, Any]:
    """Run all clients in several rounds, and in the first one terminate an instance and start another one in its place."""
    seen, seconds, left = Seen(), 0.0, 0.0
    after: list[list[int]] = []
    with ExitStack() as stack:
        settings: dict[str, Any] = {"job_keep_seconds": KEEP_SECONDS, "drain_delay_seconds": 1, "device": "cpu"}
        if redis:
            settings["jobs_url"] = stack.enter_context(redis_server(Path(stack.enter_context(TemporaryDirectory())))).url
        instances = [stack.enter_context(serving(**settings)) for _ in range(2 if redis else 1)]
        exits: list[int] = []

        async def restart() -> None:
            await asyncio.sleep(15)
            exits.append(await asyncio.to_thread(instances[0].terminate))
            instances[0] = await asyncio.to_thread(lambda: stack.enter_context(serving(**settings)))

        async def play(number: int) -> None:
            async with proxying(instances) as proxy:
                url, seeds = f"http://127.0.0.1:{proxy.port}", range(number * CLIENTS, (number + 1) * CLIENTS)
                await asyncio.gather(*([] if number else [restart()]), *(client(url, seed, seen) for seed in seeds))

        warm_up(instances[-1])
        warm = instances[-1].memory()[0]
        for number in range(ROUNDS):
            began = time.monotonic()
            asyncio.run(play(number))
            seconds += time.monotonic() - began
            left += wait_for_nothing(instances)
            after.append([instance.memory()[0] for instance in instances])
    states = Counter(
        next(iter(finals)) if len(finals) == 1 else "several: " + ", ".join(sorted(finals))
        for finals in (finals - {"expired"} for finals in seen.finals.values())
    )
    row = {
        "store": "Redis, two instances" if redis else "memory, one instance",
        "jobs": len(seen.finals),
        "states": dict(states),
        "results": seen.results,
        "canceled_too_late": seen.canceled_too_late,
        "refusals": dict(seen.refusals),
        "exits": exits,
        "seconds": round(seconds, 1),
        "left_bytes": left,
        "memory_kib": {"warm": warm, "after each round": after},
        "when": provenance(),
    }
    print(row, flush=True)
    return row


def warm_up(service: Running) -> None:
    """Send plain requests, so that every thread has processed images of every size."""
    with httpx2.Client(timeout=120) as http:
        for size in SIZES * 10:
            http.post(f"{service.url}/v1/denoise", content=picture(size), params={"sigma": 25, "model": "n3unet"})


def wait_for_nothing(instances: list[Running]) -> float:
    """Wait until all results have expired; return the bytes that are left."""
    end = time.monotonic() + 3 * KEEP_SECONDS
    while (left := sum(instance.metric("denoise_job_store_bytes") for instance in instances)) and time.monotonic() < end:
        time.sleep(1)
    return left


def large() -> dict[str, Any]:
    """Follow a job of 24 megapixels, and cancel a second one."""
    body = picture((4000, 6000))
    options: dict[str, str | int | float | bool | None] = {"sigma": 25, "model": "n3unet"}
    with serving(device="cpu") as service, httpx2.Client(base_url=service.url, timeout=120) as http:
        path = http.post("/v1/jobs", content=body, params=options).json()["links"]["self"]
        curve = []
        while True:
            state = http.get(path).json()
            curve.append((time.monotonic(), state["progress"], state["eta_seconds"]))
            if state["status"] in FINAL:
                break
            time.sleep(0.1)
        assert state["status"] == "succeeded", state
        http.delete(path)
        time.sleep(2)
        before = service.memory()[0]
        path = http.post("/v1/jobs", content=body, params=options).json()["links"]["self"]
        while http.get(path).json()["progress"] < 0.3:
            time.sleep(0.1)
        during, began = service.memory()[0], time.monotonic()
        http.delete(path)
        while service.metric("denoise_queue_jobs"):
            time.sleep(0.01)
        canceled = time.monotonic() - began
        time.sleep(2)
        after = service.memory()[0]
    end = curve[-1][0]
    moved = [at for (at, progress, _), (_, last, _) in zip(curve[1:], curve, strict=False) if progress > last]
    told = [(eta, end - at) for at, progress, eta in curve if progress >= 0.2 and eta is not None]
    ratios = [eta / left for eta, left in told if left > LAST_SECONDS]
    errors = [abs(eta - left) for eta, left in told if left <= LAST_SECONDS]
    row = {
        "seconds": round(end - curve[0][0], 1),
        "curve": [(progress, eta, round(end - at, 1)) for at, progress, eta in curve[::20]],
        "longest_pause": round(max(later - at for at, later in itertools.pairwise(moved)), 2),
        "eta_ratios": [round(min(ratios), 2), round(max(ratios), 2)],
        "last_eta_error": round(max(errors), 1),
        "memory_kib": {"before": before, "during": during, "after": after},
        "canceled_seconds": round(canceled, 2),
        "when": provenance(),
    }
    print(row, flush=True)
    return row


def main() -> None:
    """Run both, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    out = parser.parse_args().out
    results = {"large": large(), "clients": [run(redis) for redis in (False, True)]}
    (out / "jobs.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "jobs.md").write_text(page(results))


if __name__ == "__main__":
    main()
