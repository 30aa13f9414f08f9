"""The memory that enlarging takes at its peak, in a process of its own: `docs/operations.md` states the bounds."""

from pathlib import Path

import numpy as np
import pytest

from service.imaging.codec import encode
from service.imaging.picture import Depth, Format, Picture
from tests.support.processes import python

SIDE, FACTOR = 350, 4
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
    ("file_format", "depth", "channels", "sigma", "measured", "most"),
    [
        ("png", "8", 1, 0, False, 75),
        ("avif", "8", 1, 0, False, 75),
        ("tiff", "float", 3, 5, False, 100),
        ("png", "8", 3, 0, True, 140),
        ("tiff", "float", 3, 0, True, 140),
    ],
)
def test_bytes_per_pixel_that_is_held(
    tmp_path: Path, file_format: Format, depth: Depth, channels: int, sigma: float, measured: bool, most: int
) -> None:
    """The pixels that a job holds are those of the picture, the enlarged picture and the reference together."""
    files = []
    for name, side in {"small": 32, "large": SIDE, "reference": FACTOR * SIDE}.items():
        span = 100 if depth == "float" else 1  # float samples beyond black and white take the most memory
        planes = span * np.random.default_rng(0).uniform(0.4, 0.5, (channels, side, side)).astype(np.float32)
        alpha = None if file_format == "png" else np.full((side, side), 0.5, np.float32)
        files.append(tmp_path / name)
        files[-1].write_bytes(encode(Picture(planes, channels == 3, alpha, file_format, depth)))
    small, large, reference = files
    assert float(python(SCRIPT, small, large, reference if measured else "", FACTOR, sigma)) < most
