"""A real Prometheus with the configuration and the alerts of docker/."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.provenance import ROOT
from benchmarks.serving.servers import free_port

DOCKER = ROOT / "docker"


class Prometheus:
    """The HTTP API of a running Prometheus."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=f"{url}/api/v1", timeout=30)

    def get(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer.

        Raises:
            ValueError: If a parameter is invalid, for example because of a syntax error in a query.
            HTTPStatusError: If Prometheus is still starting.
        """
        response = self._http.get(path, params={name: str(value) for name, value in parameters.items()})
        if response.status_code == 400:
            raise ValueError(f"{path} with {parameters}: {response.json()['error']}")
        return response.raise_for_status().json()["data"]

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the elements of the present result of a query."""
        result: list[dict[str, Any]] = self.get("/query", query=query)["result"]
        return result

    def series(self, query: str, began: float, ended: float, step: float) -> list[tuple[float, float]]:
        """Return (seconds since `began`, value) of a query whose result has at most one series.

        Args:
            query: The query.
            began: Start in seconds since 1970.
            ended: End in seconds since 1970.
            step: Seconds between two values.
        """
        result = self.get("/query_range", query=query, start=began, end=ended, step=step)["result"]
        return [(float(at) - began, float(value)) for each in result for at, value in each["values"]]

    def state(self, alert: str) -> str | None:
        """Return the state of an alert, pending or firing, or None if it is neither."""
        return next((each["state"] for each in self.get("/alerts")["alerts"] if each["labels"]["alertname"] == alert), None)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@contextmanager
def prometheus(binary: str, target: str, interval: str = "15s") -> Iterator[Prometheus]:
    """Run Prometheus until the context ends, and wait until it has scraped a target.

    Args:
        binary: The program.
        target: The address to scrape, such as "127.0.0.1:8000". It takes the place of that of the container.
        interval: Time between two scrapes, and between two evaluations of the alerts.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        configuration = (DOCKER / "prometheus.yml").read_text().replace("n3denoise:8000", target)
        configuration = configuration.replace("_interval: 15s", f"_interval: {interval}")
        (folder / "prometheus.yml").write_text(configuration)
        (folder / "alerts.yml").write_text((DOCKER / "alerts.yml").read_text())
        options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--log.level=warn")
        process = subprocess.Popen([binary, *options, f"--web.listen-address=127.0.0.1:{port}"])
        monitor = Prometheus(f"http://127.0.0.1:{port}")
        try:
            wait_until(lambda: bool(monitor.query('up{job="n3denoise"} == 1')), 120, every=0.1)
            yield monitor
        finally:
            monitor.close()
            process.terminate()
            process.wait(60)


def wait_until(condition: Callable[[], bool], seconds: float, every: float) -> None:
    """Wait until a condition holds. A server that does not answer yet counts as one that does not hold.

    Args:
        condition: The condition.
        seconds: How long to wait.
        every: Seconds between two tries.

    Raises:
        TimeoutError: If it does not hold in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.HTTPError):
            if condition():
                return
        time.sleep(every)
    raise TimeoutError("the condition did not hold in time")
