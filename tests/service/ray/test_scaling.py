"""Autoscaling by waiting work, on a real Ray cluster of this machine."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.support.live import PATIENCE, png

pytest.importorskip("ray", reason="needs the extra ray: pip install -e '.[ray]'")

from benchmarks.serving.prometheus import wait_until
from benchmarks.serving.ray_cluster import cluster, deployed, replicas, wait_for_replicas


@pytest.mark.slow
def test_a_replica_is_added_while_work_waits_and_removed_after(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> None:
    tiny = {"weights": str(weights), "device": "cpu", "dtype": "float32"}
    scaling = {"max_replicas": 2, "target_seconds": 1, "upscale_delay_seconds": 0, "downscale_delay_seconds": 1}
    picture, enough = png(600, 600), threading.Event()

    def keep_busy() -> set[int]:
        statuses = set()
        while not enough.is_set():
            answer = httpx2.post(f"{url}/v1/denoise", params={"sigma": 25}, content=picture, timeout=5 * PATIENCE)
            statuses.add(answer.status_code)
        return statuses

    folder = tmp_path_factory.mktemp("r")
    with cluster(folder), deployed(num_cpus=0.5, settings=tiny, **scaling) as url, ThreadPoolExecutor(8) as threads:
        assert replicas() == {"RUNNING": 1}
        clients = [threads.submit(keep_busy) for _ in range(8)]
        try:  # not until the second one is ready: on a busy machine, the first one leaves it no time to start
            wait_until(lambda: sum(replicas().values()) == 2, 5 * PATIENCE, every=0.5)
        finally:
            enough.set()
        assert {status for each in clients for status in each.result()} == {200}
        wait_for_replicas(1, 5 * PATIENCE)
