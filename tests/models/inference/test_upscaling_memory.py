"""The memory that enlarging takes at its peak, in a process of its own, in addition to the image and the result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.networks.config import DEFAULT_CONFIGS, AnyConfig
from models.networks.upscaling_net import UpscalingConfig
from models.weights.files import save_weights
from tests.support.paths import ROOT

SCRIPT = """
import re, sys
from pathlib import Path
import psutil
import torch
from models.inference.upscaler import Upscaler

name, height, width, factor = sys.argv[1], *map(int, sys.argv[2:])
upscaler = Upscaler.load(name, "cpu", "float32")
upscaler.memory_budget = upscaler.least_budget
upscaler.upscale(torch.rand(40, width), 0.02, factor)  # what the libraries take once is not working memory
noisy = torch.rand(height, width)
before = psutil.Process().memory_info().rss
result = upscaler.upscale(noisy, 0.02, factor)
# Not ru_maxrss, which a process inherits from the one that started it.
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(peak - before - 4 * result.numel(), upscaler.least_budget)
"""


@pytest.mark.parametrize(
    ("config", "height", "factor"),
    [
        (DEFAULT_CONFIGS["upscale"], 300, 2),
        (UpscalingConfig(position="decoder"), 200, 4),
        pytest.param(DEFAULT_CONFIGS["upscale"], 1000, 2, marks=pytest.mark.slow),
        pytest.param(UpscalingConfig(position="decoder"), 1000, 2, marks=pytest.mark.slow),
    ],
)
def test_the_peak_stays_within_the_smallest_budget(tmp_path: Path, config: AnyConfig, height: int, factor: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, config, config.build().state_dict(), (0, 25), {})
    command = [sys.executable, "-c", SCRIPT, *map(str, (path, height, 1000, factor))]
    # Freed memory leaves the process at once: what the C library would keep depends on chance, and is used again.
    at_once = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment = {**os.environ, **at_once, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    taken, budget = map(int, done.stdout.split())
    assert taken <= budget
