"""The denoisers of the comparison, and the measurement of one of them on one image.

`python -m benchmarks.quality.methods METHOD HEIGHT WIDTH` prints the fields of a `Measurement` as one line of JSON.
`benchmarks.quality.comparison` runs it in a process for each method and size, so that the peak of the resident memory belongs
to them.
"""

import argparse
import gc
import itertools
import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models import machine
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser
from models.inference.device import DType
from models.steps import run_through
from models.weights.files import load_weights

Image = NDArray[np.float32]
SMALL_BUDGET = 96 << 20
"""Memory budget in bytes that cuts images of more than half a megapixel into panels, and into strips of one row or a few."""
Method = Callable[[Image], Image]
SIGMA = 25 / 255
SPEND = 6.0
"""Seconds after which a method is not run again. The shortest time counts."""


def n3denoise(weights: str, dtype: DType) -> Method:
    """Return one of the project's networks."""
    denoiser = Denoiser.load(weights, device="cpu", dtype=dtype)
    return lambda noisy: denoiser.denoise(torch.from_numpy(noisy), SIGMA).numpy()


def dncnn(dtype: str) -> Method:
    """Return a DnCNN with 17 layers, 64 features and random weights (Zhang et al. 2017), batch normalization folded.

    It runs on the whole image in channels-last format, as fast as PyTorch can run it.
    """
    machine.flush_denormals()
    torch.set_num_threads(min(torch.get_num_threads(), machine.usable_cores()))
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(0)
    planes = [1, *[64] * 16, 1]
    weights = [
        (torch.randn(after, before, 3, 3, generator=generator) * (2 / (9 * before)) ** 0.5).to(
            kind, memory_format=torch.channels_last
        )
        for before, after in itertools.pairwise(planes)
    ]
    biases = [torch.zeros(len(weight), dtype=kind) for weight in weights]

    @torch.inference_mode()
    def denoise(noisy: Image) -> Image:
        image = torch.from_numpy(noisy)[None, None]
        maps = image.to(kind, memory_format=torch.channels_last)
        for weight, bias in zip(weights[:-1], biases, strict=False):
            maps = functional.conv2d(maps, weight, bias, padding=1).relu_()
        denoised: Image = (image - functional.conv2d(maps, weights[-1], biases[-1], padding=1).float())[0, 0].numpy()
        return denoised

    return denoise


def block_matching() -> Method:
    """Return BM3D (Dabov et al. 2007) in its authors' implementation, which is for non-commercial use only."""
    from bm3d import bm3d

    return lambda noisy: bm3d(noisy, SIGMA).astype(np.float32)


def opencv_means() -> Method:
    """Return OpenCV's non-local means, which accepts 8-bit images only, with sigma as its filter strength."""
    import cv2

    def denoise(noisy: Image) -> Image:
        pixels = np.clip(np.rint(noisy * 255), 0, 255).astype(np.uint8)
        denoised: NDArray[np.uint8] = cv2.fastNlMeansDenoising(pixels, None, h=255 * SIGMA)
        return denoised.astype(np.float32) / np.float32(255)

    return denoise


def skimage_means() -> Method:
    """Return scikit-image's fast non-local means with the settings of the example with known sigma in its gallery.

    Its reference recommends a stronger filter, h = 0.8 sigma, which `models.neighbors.nlm` uses.
    """
    from skimage.restoration import denoise_nl_means

    return lambda noisy: denoise_nl_means(noisy, patch_size=5, patch_distance=6, h=0.6 * SIGMA, sigma=SIGMA, fast_mode=True)


def total_variation() -> Method:
    """Return scikit-image's total variation denoising, with the standard deviation of the noise as its weight."""
    from skimage.restoration import denoise_tv_chambolle

    return lambda noisy: denoise_tv_chambolle(noisy, weight=SIGMA).astype(np.float32)


METHODS: dict[str, Callable[[], Method]] = {
    "n3net bfloat16": lambda: n3denoise("n3net", "bfloat16"),
    "n3net float32": lambda: n3denoise("n3net", "float32"),
    "n3unet bfloat16": lambda: n3denoise("n3unet", "bfloat16"),
    "n3unet float32": lambda: n3denoise("n3unet", "float32"),
    "DnCNN-17 bfloat16": lambda: dncnn("bfloat16"),
    "DnCNN-17 float32": lambda: dncnn("float32"),
    "bm3d": block_matching,
    "OpenCV non-local means": opencv_means,
    "scikit-image non-local means": skimage_means,
    "scikit-image total variation": total_variation,
}
"""Functions that prepare a method, by its name. A ModuleNotFoundError means that its package is not installed."""


def picture(height: int, width: int) -> torch.Tensor:
    """Return scikit-image's "camera", cropped or mirrored to a size, (H, W) float32 in [0, 1]."""
    from skimage import data

    image = data.camera()
    top, left = (max(0, (have - want) // 2) for have, want in zip(image.shape, (height, width), strict=True))
    image = image[top : top + height, left : left + width]
    missing = [(0, want - have) for have, want in zip(image.shape, (height, width), strict=True)]
    return torch.from_numpy(np.pad(image, missing, mode="symmetric")).float().div_(255)


def strips(name: str, rows: int, noisy: Image) -> Image:
    """Denoise in float32, in strips of at most `rows` rows and panels for a small memory budget; if `rows` is 0, in one strip.

    Args:
        name: The name of the network's weights.
        rows: Largest number of rows of a strip.
        noisy: The image.
    """
    denoiser = Denoiser(load_weights(name), torch.device("cpu"), torch.float32, SMALL_BUDGET if rows else 1 << 40)
    plan = denoiser.plan(*noisy.shape)
    plan = replace(plan, rows=rows or 1 << 20)
    return run_through(denoiser.planned_steps(torch.from_numpy(noisy), SIGMA, plan)).numpy()


def matrix_peak(dtype: str) -> float:
    """Return the highest speed of many products of 1024 x 1024 matrices, in FLOP/s."""
    torch.set_num_threads(min(torch.get_num_threads(), machine.usable_cores()))
    side = 1024
    left, right = (torch.randn(side, side).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(60):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def resident() -> int:
    """Return the resident memory of the process in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """Return the peak of the resident memory of the process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run one method and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method")
    parser.add_argument("height", type=int)
    parser.add_argument("width", type=int)
    parser.add_argument("--strips", type=int, help="denoise in strips of this many rows, or 0 for one strip")
    parser.add_argument("--save", type=Path, help="file of the result, with --strips")
    arguments = parser.parse_args()
    clean = picture(arguments.height, arguments.width)
    noisy = add_noise(clean, SIGMA, 0).numpy()
    if arguments.strips is not None:
        idle = resident()
        denoised = strips(arguments.method, arguments.strips, noisy)
        np.save(arguments.save, denoised)
        print(json.dumps({"idle": idle, "peak": peak()}))
        return
    denoise = METHODS[arguments.method]()
    denoise(np.ascontiguousarray(noisy[:64, :64]))  # the first image prepares what later images reuse
    idle = resident()
    spent: list[float] = []
    cores: list[float] = []
    while not spent or (sum(spent) < SPEND and len(spent) < 7):
        start, used = time.perf_counter(), time.process_time()
        denoised = denoise(noisy)
        spent.append(time.perf_counter() - start)
        cores.append(time.process_time() - used)
    quality = None if arguments.method.startswith("DnCNN") else psnr(torch.from_numpy(denoised), clean)
    print(json.dumps({"seconds": min(spent), "core_seconds": min(cores), "psnr": quality, "idle": idle, "peak": peak()}))


if __name__ == "__main__":
    main()
