"""The memory that enlarging takes at its peak, in a process of its own: `docs/operations.md` states the bounds."""

from pathlib import Path

import pytest

from tests.service.denoising.test_memory import WRITER, python

SIDE = 700
SCRIPT = """
import re, sys
from pathlib import Path
import numpy as np
import psutil
from models.model_info import ModelInfo
from service.denoising.job import OutputOptions, run
from service.denoising.upscaling import UpscalingOptions
from service.denoising.upscaling_job import UpscalingJob
from service.imaging.picture import DecodeLimits

MODEL = ModelInfo("upscale", "upscale", "ab" * 32, {}, (0.0, 25.0), "cpu", "CPU", "float32", None)

def go(image, reference):
    files = Path(image).read_bytes(), Path(reference).read_bytes() if reference else None
    job = UpscalingJob(*files, MODEL, UpscalingOptions(int(factor), float(sigma)), OutputOptions(), DecodeLimits())
    run(job, lambda each: each.plane.repeat(each.factor, 0).repeat(each.factor, 1))
    return job.held_pixels

small, large, reference, factor, sigma = sys.argv[1:]
go(small, "")
before = psutil.Process().memory_info().rss
held = go(large, reference)
# Not ru_maxrss, which a process inherits from the one that started it.
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print((peak - before) / held)
"""


@pytest.mark.parametrize(
    ("kind", "depth", "channels", "alpha", "factor", "sigma", "measured", "most"),
    [
        ("png", "8", 1, False, 2, 0, False, 25),
        ("tiff", "float", 3, True, 2, 5, False, 60),
        ("png", "8", 3, False, 2, 0, True, 110),
    ],
)
def test_bytes_per_pixel_that_is_held(
    tmp_path: Path, kind: str, depth: str, channels: int, alpha: bool, factor: int, sigma: float, measured: bool, most: int
) -> None:
    """The pixels that a job holds are those of the picture, the enlarged picture and the reference together."""
    small, large, reference = tmp_path / "small", tmp_path / "large", tmp_path / "reference"
    python(WRITER, kind, depth, channels, alpha, 32, small)
    python(WRITER, kind, depth, channels, alpha, SIDE, large)
    if measured:
        python(WRITER, kind, depth, channels, alpha, factor * SIDE, reference)
    assert float(python(SCRIPT, small, large, reference if measured else "", factor, sigma)) < most
