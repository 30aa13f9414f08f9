"""What a GPU takes: device time, host memory to host memory, and what half precision costs.

`python -m benchmarks.cuda` prints a Markdown table. Device time is of the network alone, the image and its result on the device.
"""

import time
from collections.abc import Callable

import torch

from benchmarks.quality.methods import SIGMA, picture
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser, DType
from models.inference.stream import NetworkStage, Shape
from models.steps import run_through

SIZES = ((512, 512), (1024, 1024), (4000, 6000))
DTYPES: tuple[DType, ...] = ("float16", "bfloat16", "float32")
RUNS = 20


@torch.inference_mode()
def on_device(denoiser: Denoiser, noisy: torch.Tensor) -> None:
    """Denoise an image (H, W) that is on the device, as `Denoiser.steps` does, and leave the result there."""
    height, width = noisy.shape
    plan = denoiser.plan(height, width)
    for panel in plan.panels:
        shape = Shape(panel.padding, plan.rows, plan.side, plan.batch, fused=denoiser.unfused_reason is None)
        stage = NetworkStage(denoiser.network, height, panel.stop - panel.start, shape)
        for start in range(0, height, plan.rows):
            rows = noisy[None, None, start : start + plan.rows, panel.start : panel.stop]
            groups = (rows, torch.full_like(rows, SIGMA)) if denoiser.config.sigma_plane else (rows,)
            run_through(stage.feed(groups, last=start + plan.rows >= height))


def best(work: Callable[[], object]) -> float:
    """Return the seconds of the best of some runs, the device idle before and after each."""
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
    print("| dtype | N3 block | image | device, ms | host to host, ms | PSNR, dB | less than float32, dB |")
    print("|---|---|---|---:|---:|---:|---:|")
    full = Denoiser.load(device="cuda", dtype="float32")
    for size in SIZES:
        clean = picture(*size)
        noisy = add_noise(clean, SIGMA, 0)
        reference = psnr(full.denoise(noisy, SIGMA), clean)
        for dtype in DTYPES:
            denoiser = Denoiser.load(device="cuda", dtype=dtype)
            reason = denoiser.unfused_reason
            for block in ("fused", "plain") if reason is None else ("plain",):
                denoiser.unfused_reason = None if block == "fused" else reason or "for comparison"
                there = noisy.to(denoiser.device)
                device, host = (best(lambda: on_device(denoiser, there)), best(lambda: denoiser.denoise(noisy, SIGMA)))  # noqa: B023
                quality = psnr(denoiser.denoise(noisy, SIGMA), clean)
                print(
                    f"| {dtype} | {block} | {size[1]} x {size[0]} | {1e3 * device:.2f} | {1e3 * host:.2f} "
                    f"| {quality:.3f} | {reference - quality:.4f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
