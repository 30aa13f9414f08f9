"""A real process over some hundred requests: memory, threads and open files stay what they are after the first ones."""

import itertools
from pathlib import Path

import httpx2
import pytest

from benchmarks.serving.servers import serving
from tests.support.live import PATIENCE, png

SIZES = ((64, 64), (96, 128), (200, 150), (256, 256))
FORMATS = ("png", "jpeg", "webp", "tiff", "bmp")
MIB = 1024  # of the KiB that a process is measured in


@pytest.mark.slow
def test_nothing_grows_after_the_first_requests(weights: Path) -> None:
    pictures = {size: png(*size) for size in SIZES}
    cases = itertools.cycle(itertools.product(SIZES, FORMATS, ("25", "auto")))
    # One thread a stage, so that their number does not hang on which requests happened to meet.
    with (
        serving(weights=weights, device="cpu", codec_threads=1, idle_selftest_seconds=1000) as service,
        httpx2.Client(base_url=service.url, timeout=PATIENCE) as client,
    ):

        def send(count: int) -> None:
            for size, name, sigma in itertools.islice(cases, count):
                files = {"image": pictures[size], "reference": pictures[size]}
                answer = client.post("/v1/denoise", files=files, data={"sigma": sigma, "format": name})
                assert answer.status_code == 200
                assert client.post("/v1/denoise", content=pictures[size][:-30]).status_code == 422

        send(80)
        resident, *counts = service.memory()
        send(240)
        resident_after, *counts_after = service.memory()
        assert counts_after == counts
        assert resident_after - resident < 8 * MIB
