"""Time and quality on a GPU for each dtype, with and without the fused N3 block.

`python -m benchmarks.cuda` prints a Markdown table. "Device" is the time of the network alone, with the image and the result on
the device; "host to host" includes the copies from and to the memory of the host.
"""

import time
from collections.abc import Callable

import torch

from benchmarks.quality.methods import SIGMA, picture
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.cut_plan import Plan
from models.inference.denoiser import Denoiser
from models.inference.device import DType
from models.inference.strips import denoise_strips
from models.steps import run_through

SIZES = ((512, 512), (1024, 1024), (4000, 6000))
DTYPES: tuple[DType, ...] = ("float16", "bfloat16", "float32")
RUNS = 20


class OnDevice:
    """An image (H, W) that lies on the device. Its result stays there and is not kept."""

    def __init__(self, noisy: torch.Tensor) -> None:
        self._noisy = noisy[None, None]

    def take(self, rows: slice, columns: slice) -> torch.Tensor:
        """Return a piece of the image."""
        return self._noisy[:, :, rows, columns]

    def give(self, piece: torch.Tensor, row: int, column: int) -> None:
        """Ignore a piece of the result."""


@torch.inference_mode()
def denoise_on_device(denoiser: Denoiser, noisy: torch.Tensor, plan: Plan) -> None:
    """Denoise an image (H, W) on the device, which has the network's smallest size at least, without any copies."""
    run_through(denoise_strips(denoiser.network, OnDevice(noisy), len(noisy), SIGMA, plan))


def best(work: Callable[[], object]) -> float:
    """Return the shortest time of several runs in seconds. The device is idle before and after each run."""
    for _ in range(3):
        work()
    seconds = float("inf")
    for _ in range(RUNS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def main() -> None:
    """Print the table."""
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    print("| dtype | N3 block | image | device, ms | host to host, ms | PSNR, dB | loss to float32, dB |")
    print("|---|---|---|---:|---:|---:|---:|")
    full = Denoiser.load(device="cuda", dtype="float32")
    for size in SIZES:
        clean = picture(*size)
        noisy = add_noise(clean, SIGMA, 0)
        reference = psnr(full.denoise(noisy, SIGMA), clean)
        for dtype in DTYPES:
            denoiser = Denoiser.load(device="cuda", dtype=dtype)
            there = noisy.to(denoiser.device)
            for block in ("fused", "plain") if denoiser.unfused_reason is None else ("plain",):
                plan = denoiser.plan(*size, fused=block == "fused")
                device = best(lambda: denoise_on_device(denoiser, there, plan))  # noqa: B023
                host = best(lambda: run_through(denoiser.planned_steps(noisy, SIGMA, plan)))  # noqa: B023
                quality = psnr(run_through(denoiser.planned_steps(noisy, SIGMA, plan)), clean)
                print(
                    f"| {dtype} | {block} | {size[1]} x {size[0]} | {1e3 * device:.2f} | {1e3 * host:.2f} "
                    f"| {quality:.3f} | {reference - quality:.4f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
