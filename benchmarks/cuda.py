"""Time on a GPU for each network and dtype, with and without the fused N3 block, and the throughput of small images.

`python -m benchmarks.cuda` prints two Markdown tables. "Device" is the time of the network alone, with the image and the result
on the device; "host to host" includes the copies from and to the memory of the host. It needs no packages but PyTorch, NumPy,
safetensors and Triton.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence

import torch

from benchmarks.gpu.pictures import picture
from models.images.noise import add_noise
from models.inference.cut_plan import Plan
from models.inference.denoiser import Denoiser
from models.inference.device import DType
from models.inference.noise_levels import UniformLevels
from models.inference.strips import compute_strips
from models.steps import run_through

SIGMA = 25 / 255
NETWORKS = ("n3net", "n3unet")
SIZES = ((512, 512), (1024, 1024), (4000, 6000))
DTYPES: tuple[DType, ...] = ("float16", "bfloat16", "float32")
SMALL_SIZES = (128, 256, 512, 1024)
IN_A_ROW = 32
"""Images that are denoised one after another to measure the throughput."""
RUNS = 20
SPEND = 1.5
"""Seconds after which a case is not run again. The shortest time counts."""


class OnDevice:
    """A noisy image and its result, which both stay on the device."""

    def __init__(self, noisy: torch.Tensor) -> None:
        self._noisy = noisy[None, None]
        self.result = torch.empty_like(noisy)

    def take(self, rows: slice, columns: slice) -> torch.Tensor:
        """Return a piece of the image, (1, 1, h, w)."""
        return self._noisy[:, :, rows, columns]

    def give(self, piece: torch.Tensor, row: int, column: int) -> None:
        """Write a piece of the result."""
        height, width = piece.shape[2:]
        self.result[row : row + height, column : column + width] = piece[0, 0]


@torch.inference_mode()
def denoise_on_device(denoiser: Denoiser, image: OnDevice, plan: Plan) -> None:
    """Denoise an image on the device without any copies between host and device.

    The sides of the image must be multiples of those that the network works on, and not below its smallest ones.
    """
    scale = denoiser.footprint.scale
    run_through(
        compute_strips(denoiser.network, image, len(image.result) // scale, UniformLevels((SIGMA,), denoiser.device), plan, scale)
    )


def graph_of(denoiser: Denoiser, image: OnDevice, plan: Plan) -> Callable[[], object]:
    """Record `denoise_on_device` as a CUDA graph, which launches all its kernels at once, and return what replays it.

    Raises:
        RuntimeError: If the work cannot be recorded, or the replayed result differs.
    """
    denoise_on_device(denoiser, image, plan)  # compiles the kernels
    expected = image.result.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        denoise_on_device(denoiser, image, plan)
    image.result.zero_()
    graph.replay()
    if not torch.allclose(image.result, expected, atol=1e-2):
        raise RuntimeError("the replayed result differs")
    return graph.replay


def denoise_in_turn(
    denoiser: Denoiser, noisy: torch.Tensor, plan: Plan, count: int, streams: Sequence[torch.cuda.Stream]
) -> None:
    """Denoise an image several times from host to host, with one image in flight on each stream."""
    pending: deque[tuple[torch.cuda.Stream, Generator[float, None, torch.Tensor]]] = deque()

    def finish() -> None:
        stream, steps = pending.popleft()
        with torch.cuda.stream(stream):
            run_through(steps)

    for index in range(count):
        if len(pending) == len(streams):
            finish()
        steps = denoiser.planned_steps(noisy, SIGMA, plan)
        stream = streams[index % len(streams)]
        with torch.cuda.stream(stream):
            while next(steps) < 1:
                pass
        pending.append((stream, steps))
    while pending:
        finish()


def best(work: Callable[[], object]) -> float:
    """Return the shortest time of several runs in seconds. The device is idle before and after each run."""
    work()
    spent: list[float] = []
    while len(spent) < 3 or (len(spent) < RUNS and sum(spent) < SPEND):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return min(spent)


def single_images() -> None:
    """Print the table of single images."""
    print("| network | dtype | N3 block | image | device, ms | host to host, ms | difference to float32, RMS |")
    print("|---|---|---|---|---:|---:|---:|")
    for network in NETWORKS:
        full = Denoiser.load(network, device="cuda", dtype="float32")
        for size in SIZES:
            noisy = add_noise(picture(*size), SIGMA, 0)
            reference = full.denoise(noisy, SIGMA)
            for dtype in DTYPES:
                denoiser = Denoiser.load(network, device="cuda", dtype=dtype)
                image = OnDevice(noisy.cuda())
                for block in ("fused", "plain") if denoiser.unfused_reason is None else ("plain",):
                    plan = denoiser.plan(*size, fused=block == "fused")
                    device = best(lambda: denoise_on_device(denoiser, image, plan))  # noqa: B023
                    host = best(lambda: run_through(denoiser.planned_steps(noisy, SIGMA, plan)))  # noqa: B023
                    difference = run_through(denoiser.planned_steps(noisy, SIGMA, plan)) - reference
                    print(
                        f"| {network} | {dtype} | {block} | {size[1]} x {size[0]} | {1e3 * device:.2f} | {1e3 * host:.2f} "
                        f"| {difference.square().mean().sqrt():.1e} |",
                        flush=True,
                    )


def throughput() -> None:
    """Print the table of many images of one size, in the dtype that is the default on a GPU."""
    print("| network | image | one after another, images/s | two streams, images/s | device, ms | as a CUDA graph, ms |")
    print("|---|---|---:|---:|---:|---:|")
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    for network in NETWORKS:
        denoiser = Denoiser.load(network, device="cuda")
        for side in SMALL_SIZES:
            noisy = add_noise(picture(side, side), SIGMA, 0)
            plan, image = denoiser.plan(side, side), OnDevice(noisy.cuda())
            one, two = (
                IN_A_ROW / best(lambda: denoise_in_turn(denoiser, noisy, plan, IN_A_ROW, streams[:count]))  # noqa: B023
                for count in (1, 2)
            )
            device = best(lambda: denoise_on_device(denoiser, image, plan))  # noqa: B023
            try:
                replayed = f"{1e3 * best(graph_of(denoiser, image, plan)):.2f}"
            except RuntimeError as error:
                replayed = f"not possible: {str(error).splitlines()[0]}"
            print(f"| {network} | {side} x {side} | {one:.0f} | {two:.0f} | {1e3 * device:.2f} | {replayed} |", flush=True)


def main() -> None:
    """Print the tables."""
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    single_images()
    print()
    throughput()


if __name__ == "__main__":
    main()
