"""The memory that a job takes at its peak, in a process of its own: `docs/operations.md` states the bounds."""

from pathlib import Path

import pytest

from models.networks.n3net import N3NetConfig
from models.networks.n3unet import N3UNetConfig
from models.networks.upscaling_net import UpscalingConfig
from service.imaging.picture import COUNTED_SIDE
from tests.support.processes import WRITER, python

SIDE = 1200
SCRIPT = """
import re, sys
from pathlib import Path
import numpy as np
import psutil
from models.model_info import ModelInfo
from service.denoising.blending import Blend
from service.denoising.denoising_job import DenoisingJob
from service.denoising.job import OutputOptions, run
from service.denoising.photon_counts import PhotonOptions
from service.denoising.pipeline import DenoisingOptions
from service.imaging.picture import DecodeLimits

MODEL = ModelInfo("n3net", "n3net", "ab" * 32, {}, (0.0, 75.0), "cpu", "CPU", "float32", None)

def go(name, other):
    data = Path(name).read_bytes()
    options = DenoisingOptions(25, "rgb", blend=Blend(chroma=0.5, detail=1) if other == "mask" else Blend())
    reference, mask = (data if other == name else None for name in ("reference", "mask"))
    photons = PhotonOptions(0.5, 2.0) if other == "photons" else None
    job = DenoisingJob(data, reference, MODEL, options, OutputOptions(), DecodeLimits(), mask=mask, photons=photons)
    run(job, lambda each: each.plane + np.float32(0.001))

small, large, other = sys.argv[1:]
go(small, other)
before = psutil.Process().memory_info().rss
go(large, other)
# Not ru_maxrss, which a process inherits from the one that started it.
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(peak - before)
"""


@pytest.mark.parametrize(
    ("kind", "depth", "channels", "alpha", "other", "most"),
    [
        ("png", "8", 1, False, "", 40),
        ("png", "16", 3, True, "", 100),
        ("tiff", "float", 3, True, "", 100),
        ("avif", "8", 1, False, "", 40),
        ("avif", "8", 3, True, "", 100),
        ("heic", "16", 3, True, "", 100),
        ("png", "8", 1, False, "reference", 170),
        ("tiff", "float", 3, True, "reference", 280),
        ("avif", "8", 3, True, "reference", 280),
        ("png", "8", 1, False, "mask", 40),
        ("tiff", "float", 1, True, "photons", 40),
        ("tiff", "float", 3, True, "mask", 130),
    ],
)
def test_bytes_per_pixel_at_the_peak(
    tmp_path: Path, kind: str, depth: str, channels: int, alpha: bool, other: str, most: int
) -> None:
    files = [tmp_path / "small", tmp_path / "large"]
    for side, file in zip((32, SIDE), files, strict=True):
        python(WRITER, kind, depth, channels, alpha, side, file)
    assert int(python(SCRIPT, *files, other)) / SIDE**2 < most


THIN = """
import re, sys
from pathlib import Path
import numpy as np
import psutil
import torch
from models.inference.denoiser import Denoiser
from service.denoising.denoising_job import DenoisingJob
from service.denoising.job import OutputOptions, run
from service.denoising.pipeline import DenoisingOptions
from service.imaging.codec import encode
from service.imaging.picture import DecodeLimits, Picture

denoiser = Denoiser.load(sys.argv[1], "cpu", "float32", 1 << 23)

def go(height):
    data = encode(Picture(np.full((1, height, 1), 0.5, np.float32)))
    job = DenoisingJob(data, None, denoiser.info, DenoisingOptions(25), OutputOptions(), DecodeLimits())
    run(job, lambda each: denoiser.denoise(torch.from_numpy(each.plane), each.sigma).numpy())
    return job.held_pixels

go(32)
before = psutil.Process().memory_info().rss
held = go(200_000)
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print((peak - before) / held)
"""


def test_a_picture_of_one_column_stays_within_the_bound(weights: Path) -> None:
    """The network extends it to many columns, so it takes about 200 bytes for each of its own pixels."""
    assert float(python(THIN, weights)) < 40


@pytest.mark.parametrize("config", [N3NetConfig(), N3UNetConfig(), UpscalingConfig()])
def test_no_network_extends_sides_beyond_what_the_limits_count(config: N3NetConfig | N3UNetConfig) -> None:
    assert config.smallest_side <= COUNTED_SIDE
