"""Long measurements of a real server: terminations under load, a soak test, and a hundred thousand bad requests.

`python -m benchmarks.serving.endurance` writes endurance.json, endurance.md and two plots. A part that is left out (`--bad 0`)
keeps its previous figures.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.markdown import paragraph
from benchmarks.plots import svg_figure
from benchmarks.provenance import RESULTS, provenance
from benchmarks.serving.bad_inputs import BadRequest, bad_requests
from benchmarks.serving.load_client import client, picture, post
from benchmarks.serving.servers import Running, serving
from benchmarks.serving.tiny_weights import tiny_weights
from service.settings import DEFAULT_MODEL

SIZES = ((64, 64), (96, 128), (128, 128), (200, 150), (256, 256), (512, 512))
SHARES = (30, 20, 20, 15, 12, 3)
"""Percentage of the soak's requests with each of the sizes."""
WARM_UP = 1500
"""Number of requests of the soak that do not count. After them, every thread of every pool has processed images of every size."""


def main() -> None:
    """Run the parts that the command line selects, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bad", type=int, default=100_000, help="number of bad requests")
    parser.add_argument("--soak", type=int, default=3_000, help=f"number of requests of the soak after {WARM_UP} to warm up")
    parser.add_argument("--terminations", type=int, default=20, help="number of terminations under load")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args()
    path = arguments.out / "endurance.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name, count, measure in (
        ("terminations", arguments.terminations, terminations),
        ("soak", arguments.soak, soak),
        ("bad", arguments.bad, bad),
    ):
        if count:
            results[name] = measure(count) | {"when": provenance()}
            path.write_text(json.dumps(results, indent=1) + "\n")
            write_report(results, arguments.out)


def bad(count: int) -> dict[str, Any]:
    """Send bad requests, count the answers by status, and record the resident memory."""
    statuses: Counter[int] = Counter()
    memory: list[tuple[int, int]] = []
    with (
        TemporaryDirectory() as folder,
        serving(weights=tiny_weights(Path(folder)), device="cpu", max_megapixels=0.02) as service,
        httpx2.Client(timeout=120) as http,
    ):

        def send(request: BadRequest) -> None:
            answer = http.post(
                f"{service.url}/v1/denoise", content=request.content, headers=request.headers, params=dict(request.params)
            )
            statuses[answer.status_code] += 1
            if answer.status_code >= 500:
                print(answer.status_code, answer.text, request)

        batch = 2_000  # in one run of Hypothesis; a single run would keep every case in memory
        for number in range(-(-count // batch)):

            @seed(number)
            @settings(
                max_examples=min(batch, count - number * batch),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(request=bad_requests())
            def run(request: BadRequest) -> None:
                send(request)

            run()
            memory.append((sum(statuses.values()), service.memory()[0]))
            if number % 5 == 0:
                print(sum(statuses.values()), dict(statuses), memory[-1][1], "KiB", flush=True)
        alive = http.post(f"{service.url}/v1/denoise", params={"sigma": 5}, content=picture((64, 64))).status_code
    return {"statuses": {str(status): statuses[status] for status in sorted(statuses)}, "memory_kib": memory, "alive": alive}


def soak(count: int) -> dict[str, Any]:
    """Send good requests of mixed sizes, two at a time, and record the memory, threads and open files."""
    rng = random.Random(0)
    rows: list[tuple[int, int, int, int]] = []

    async def run(service: Running) -> None:
        async with client() as http:
            for done in range(0, WARM_UP + count, 50):
                sizes = rng.choices(SIZES, SHARES, k=50)
                for pair in zip(sizes[::2], sizes[1::2], strict=True):
                    answers = await asyncio.gather(*(post(http, service.url, size) for size in pair))
                    assert {answer.status for answer in answers} == {200}
                rows.append((done + 50, *service.memory()))

    with serving() as service:
        began = time.monotonic()
        asyncio.run(run(service))
    return {"model": DEFAULT_MODEL, "rows": rows, "seconds": time.monotonic() - began, **slope(rows)}


def slope(rows: list[tuple[int, int, int, int]]) -> dict[str, float]:
    """Return the growth of resident memory in KiB per request after the warm-up, with its standard error.

    Successive samples are not independent, so the error is computed from the slopes of ten blocks.
    """
    warm = np.array([row for row in rows if row[0] >= WARM_UP], float)
    whole = float(np.polyfit(warm[:, 0], warm[:, 1], 1)[0])
    blocks = [block for block in np.array_split(warm, 10) if len(block) > 1]
    slopes = [float(np.polyfit(block[:, 0], block[:, 1], 1)[0]) for block in blocks]
    return {"slope_kib": whole, "slope_error_kib": float(np.std(slopes, ddof=1) / np.sqrt(len(slopes)))}


def terminations(count: int) -> dict[str, Any]:
    """Terminate a server under load, again and again."""
    return {"model": DEFAULT_MODEL, "rows": [terminate(number) for number in range(count)]}


def terminate(number: int) -> dict[str, Any]:
    """Send SIGTERM to a server while eight clients send requests without pause, and count the outcomes of the requests."""
    outcomes: Counter[str] = Counter()
    with serving(drain_delay_seconds=1) as service, ThreadPoolExecutor(9) as threads:
        ended = False

        def work() -> None:
            with httpx2.Client(timeout=120) as http:
                while not ended:
                    try:
                        answer = http.post(f"{service.url}/v1/denoise", params={"sigma": 25}, content=picture((192, 192)))
                    except httpx2.ConnectError:
                        outcomes["refused"] += 1  # the listener was closed, so the request was never accepted
                        return
                    except httpx2.TransportError as error:
                        outcomes[f"lost: {type(error).__name__}"] += 1
                        return
                    outcomes[str(answer.status_code)] += 1

        def watch() -> bool:
            seen = False
            while not ended:
                try:
                    seen |= httpx2.get(f"{service.url}/readyz", timeout=30).status_code == 503
                except httpx2.TransportError:
                    return seen
                time.sleep(0.02)
            return seen

        clients = [threads.submit(work) for _ in range(8)]
        watcher = threads.submit(watch)
        time.sleep(random.Random(number).uniform(1, 3))
        code = service.terminate()
        ended = True
        for task in clients:
            task.result()
        row = {"exit": code, "seen_not_ready": watcher.result(), "outcomes": dict(sorted(outcomes.items()))}
    print(row, flush=True)
    return row


def write_report(results: dict[str, Any], out: Path) -> None:
    """Write endurance.md and a plot of the memory for each part that records it."""
    (out / "endurance.md").write_text(page(results))
    for name, curve in (
        ("soak", [row[:2] for row in results.get("soak", {}).get("rows", [])]),
        ("bad", results.get("bad", {}).get("memory_kib", [])),
    ):
        if curve:
            plot(curve, out / f"endurance-{name}.svg")


def page(results: dict[str, Any]) -> str:
    """Return endurance.md."""
    lines = ["# Endurance", "", "Measured by `make endurance`. Each part states when and where it was measured."]
    if ended := results.get("terminations"):
        outcomes = sum((Counter(row["outcomes"]) for row in ended["rows"]), Counter[str]())
        seen = sum(row["seen_not_ready"] for row in ended["rows"])
        lost = sum(amount for name, amount in outcomes.items() if name.startswith("lost"))
        lines += [
            *("", "## Terminations under load", "", ended["when"] + ".", ""),
            paragraph(
                f"{len(ended['rows'])} servers got SIGTERM while eight clients sent requests without pause.",
                f"{outcomes['200']} requests were answered with a result and {outcomes['503']} with 503 (draining);",
                f"{outcomes['refused']} could not connect any more; {lost} were lost. In {seen} of the runs, a readiness check",
                f"was answered with 503. Exit codes: {', '.join(map(str, sorted({row['exit'] for row in ended['rows']})))}.",
                f"The model is `{ended['model']}`.",
            ),
        ]
    if soaked := results.get("soak"):
        first, last = next(row for row in soaked["rows"] if row[0] >= WARM_UP), soaked["rows"][-1]
        lines += [
            *("", "## Soak", "", soaked["when"] + ".", ""),
            paragraph(
                f"{last[0]} requests with images from 64 x 64 to 512 x 512 in {soaked['seconds']:.0f} s, the first {WARM_UP} of",
                f"them to warm up. From then to the end, resident memory went from {first[1] / 1024:.0f} to",
                f"{last[1] / 1024:.0f} MiB ({last[1] - first[1]:+d} KiB;",
                f"{soaked['slope_kib']:+.3f} ± {soaked['slope_error_kib']:.3f} KiB per request),",
                f"the number of threads from {first[2]} to {last[2]}, and the number of open files from {first[3]} to {last[3]}.",
                f"The model is `{soaked['model']}`.",
            ),
            *("", "![Resident memory](endurance-soak.svg)"),
        ]
    if sent := results.get("bad"):
        counts = ", ".join(f"{status}: {amount}" for status, amount in sent["statuses"].items())
        kib = [row[1] for row in sent["memory_kib"]]
        lines += [
            *("", "## Bad requests", "", sent["when"] + ".", ""),
            paragraph(
                f"{sum(sent['statuses'].values())} answers by status: {counts}. A valid request afterwards: {sent['alive']}.",
                f"Resident memory was {kib[len(kib) // 10] / 1024:.0f} MiB after a tenth of the requests and",
                f"{kib[-1] / 1024:.0f} MiB at the end.",
            ),
            *("", "![Resident memory](endurance-bad.svg)"),
        ]
    return "\n".join(lines) + "\n"


def plot(curve: list[tuple[int, int]], path: Path) -> None:
    """Draw the resident memory over the number of requests."""
    with svg_figure(path, 5, 2.6) as figure:
        axes = figure.subplots()
        axes.plot([requests for requests, _ in curve], [kib / 1024 for _, kib in curve])
        axes.set(xlabel="requests", ylabel="resident MiB")
        axes.set_ylim(bottom=0)


if __name__ == "__main__":
    main()
