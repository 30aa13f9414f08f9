"""How fast training goes, and where the time goes.

`python -m benchmarks.train_speed SOURCES...` writes benchmarks/TRAINING.md.
"""

import argparse
import platform
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from models.machine import flush_denormals, keep_freed_memory
from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import Trainer

OUT = Path(__file__).parent / "TRAINING.md"
GROUPS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("mkldnn_convolution", "_convolution_pointwise", "cudnn_convolution", "thnn_conv2d"),
    "products of the N3 blocks": ("bmm", "baddbmm"),
    "batch normalization": ("batch_norm",),
    "copies and casts": ("copy_", "cat", "fill_", "pixel_"),
}
STATISTICS = {False: "of the batch", True: "frozen"}


def measure(trainer: Trainer, steps: int) -> tuple[float, float]:
    """Return crops per second, and per second of processor time, over so many steps after two to warm up."""
    for _ in range(2):
        trainer.step(0.5)
    begin, began = time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer.step(0.5)  # reads its loss, so the device is done with it
    crops = steps * trainer.recipe.batch
    return crops / (time.perf_counter() - begin), crops / (time.process_time() - began)


def shares(trainer: Trainer) -> dict[str, float]:
    """Return the share of one step's time that each group of operations takes by itself."""
    cuda = trainer.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as profiler:
        trainer.step(0.5)
    times = {event.key: event.self_device_time_total if cuda else event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(times.values())
    found = dict.fromkeys(GROUPS, 0.0)
    for key, value in times.items():
        group = next((group for group, names in GROUPS.items() if any(name in key for name in names)), None)
        if group:
            found[group] += value / total
    return {**found, "everything else": 1 - sum(found.values())}


def main() -> None:
    """Measure the default recipe and larger crops; write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", help="folders of images, or packed image sets")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    flush_denormals()
    keep_freed_memory()  # as `n3denoise train` does
    images = ImageSet.read(arguments.sources)
    device = torch.device(arguments.device)
    lines = [
        "| normalization | crop | batch | crops/s | crops per processor second | megapixels per processor second |",
        "|---" * 6 + "|",
    ]
    parts: dict[str, dict[str, float]] = {}
    for frozen, name in STATISTICS.items():
        for crop, batch in ((80, arguments.batch), (100, max(1, arguments.batch * 5 // 8)), (160, max(1, arguments.batch // 4))):
            recipe = replace(Recipe(), crop=crop, batch=batch, freeze_statistics=frozen)
            trainer = Trainer(images, N3NetConfig(), recipe, device)
            if arguments.compile:
                trainer.forward = torch.compile(trainer.network)
            speed, frugality = measure(trainer, arguments.steps)
            pixels = frugality * crop * crop / 1e6
            lines.append(f"| {name} | {crop} | {batch} | {speed:.2f} | {frugality:.2f} | {pixels:.4f} |")
            if name not in parts:
                parts[name] = shares(trainer)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    where = f"{machine}, threads: {torch.get_num_threads()}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    text = [
        "# Training speed",
        "",
        f"`python -m benchmarks.train_speed`: {where}.",
        "A step is crops, noise, forward, backward, clipping, optimizer, weight average. Processor time counts all threads;",
        "it tells more than the clock where other work shares the machine.",
        "",
        *lines,
        "",
        f"Where a step of {arguments.batch} crops of 80 px spends its time:",
        "",
        f"| operations | {' | '.join(parts)} |",
        "|---" * (len(parts) + 1) + "|",
        *(f"| {group} | {' | '.join(f'{part[group]:.0%}' for part in parts.values())} |" for group in next(iter(parts.values()))),
    ]
    OUT.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
