"""Whether Prometheus notices an overload: it scrapes a real server under too much load until `N3denoiseOverloaded` fires.

`python -m benchmarks.serving.monitoring` writes monitoring.json, monitoring.md and a plot. The alerts, the intervals and the
queries are those in docker/. It needs `prometheus` from the Debian package of that name, and takes about 20 minutes.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.provenance import RESULTS, provenance
from benchmarks.serving.load_client import MEAN_PIXELS, Answer, closed_loop, open_loop
from benchmarks.serving.monitoring_report import write_report
from benchmarks.serving.prometheus import DOCKER, Prometheus, prometheus, wait_until
from benchmarks.serving.servers import serving
from service.settings import DEFAULT_MODEL

ALERT = "N3denoiseOverloaded"
LOAD = 3.0
"""Load as a multiple of the capacity."""
TIMEOUT_SECONDS = 30
PATIENCE_SECONDS = 20 * 60
"""Time after which an alert that has not fired, or not ended, counts as missed."""
STEP_SECONDS = 15
SERIES = {
    "refused": 'sum(rate(denoise_rejections_total{job="n3denoise"}[1m]))',
    "requests": 'sum(rate(http_server_request_duration_seconds_count{job="n3denoise",http_request_method="POST"}[1m]))',
    "queue_seconds": 'sum(denoise_queue_pixels{job="n3denoise"}) / avg(denoise_pixels_per_second{job="n3denoise"} > 0)',
    "pixels_per_second": 'sum(rate(denoise_pixels_total{job="n3denoise"}[1m]))',
    "pending": f'ALERTS{{alertname="{ALERT}",alertstate="pending"}}',
    "firing": f'ALERTS{{alertname="{ALERT}",alertstate="firing"}}',
}
"""What the report shows over time."""


def main() -> None:
    """Overload a server until the alert fires, wait until the alert ends, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    parser.add_argument("--remark", default="", help="a sentence for the report, such as what else ran on the machine")
    arguments = parser.parse_args()
    with serving(timeout_seconds=TIMEOUT_SECONDS, device="cpu") as service:
        capacity = asyncio.run(closed_loop(service.url, 60, 3, 0))
        with prometheus("prometheus", service.url.removeprefix("http://")) as monitor:
            results = measure(service.url, monitor, capacity) | {"remark": arguments.remark}
    (arguments.out / "monitoring.json").write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, arguments.out)


def measure(url: str, monitor: Prometheus, capacity: float) -> dict[str, Any]:
    """Return what Prometheus saw of an overload, and of the time after it."""
    began = time.time()
    answers = asyncio.run(overload(url, monitor, LOAD * capacity / MEAN_PIXELS))
    stopped = time.time()
    panels = {query: len(monitor.query(query)) for query in dashboard_queries()}
    wait_until(lambda: monitor.state(ALERT) is None, PATIENCE_SECONDS, STEP_SECONDS)
    ended = time.time() + STEP_SECONDS
    return {
        "when": provenance(),
        "model": DEFAULT_MODEL,
        "alert": ALERT,
        "load": LOAD,
        "capacity": capacity,
        "version": monitor.get("/status/buildinfo")["version"],
        "statuses": {str(status): sum(answer.status == status for answer in answers) for status in {a.status for a in answers}},
        "stopped": stopped - began,
        "series": {name: monitor.series(query, began, ended, STEP_SECONDS) for name, query in SERIES.items()},
        "panels": panels,
    }


async def overload(url: str, monitor: Prometheus, per_second: float) -> list[Answer]:
    """Send too many requests until the alert fires, and return the answers to all of them."""
    fires = asyncio.create_task(
        asyncio.to_thread(wait_until, lambda: monitor.state(ALERT) == "firing", PATIENCE_SECONDS, STEP_SECONDS)
    )
    arrivals: list[asyncio.Task[list[Answer]]] = []
    while not fires.done():
        arrivals.append(asyncio.create_task(open_loop(url, per_second, STEP_SECONDS, len(arrivals), 4 * TIMEOUT_SECONDS)))
        await asyncio.wait([fires], timeout=STEP_SECONDS)
    await fires
    return [answer for each in await asyncio.gather(*arrivals) for answer in each]


def dashboard_queries() -> list[str]:
    """Return the queries of the Grafana dashboard, over one minute where Grafana would choose the time."""
    dashboard = json.loads((DOCKER / "grafana" / "n3denoise.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [query.replace("$__rate_interval", "1m") for query in queries]


if __name__ == "__main__":
    main()
