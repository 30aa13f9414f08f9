"""The speed of training, and the share of each kind of operation in it.

`python -m benchmarks.training.speed SOURCES...` writes training-speed.md.
"""

import argparse
import time
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.markdown import paragraph, row_of
from benchmarks.provenance import RESULTS, cpu_name
from models.machine import flush_denormals, keep_freed_memory
from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import Trainer, fresh_network

OUT = RESULTS / "training-speed.md"
GROUPS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("mkldnn_convolution", "_convolution_pointwise", "cudnn_convolution", "thnn_conv2d"),
    "products of the N3 blocks": ("bmm", "baddbmm"),
    "batch normalization": ("batch_norm",),
    "copies and casts": ("copy_", "cat", "fill_", "pixel_"),
}
STATISTICS = {False: "of the batch", True: "frozen"}
"""Statistics that batch normalization uses, by `Recipe.freeze_statistics`."""


def measure(trainer: Trainer, steps: int) -> tuple[float, float]:
    """Return crops per second and crops per second of processor time, over a number of steps after two to warm up."""
    for _ in range(2):
        trainer.step(0.5)
    begin, began = time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer.step(0.5)  # reads the loss, so it waits for the device
    crops = steps * trainer.recipe.batch
    return crops / (time.perf_counter() - begin), crops / (time.process_time() - began)


def shares(trainer: Trainer) -> dict[str, float]:
    """Return the share of each group of operations in the time of a step."""
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
    """Measure the default recipe, and larger crops in batches of about as many pixels, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", help="folders of images, or packed image sets")
    parser.add_argument("--steps", type=int, default=8, help="number of steps to measure")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=8, help="number of crops of 80 px in a step")
    parser.add_argument("--compile", action="store_true", help="compile the network with torch.compile")
    arguments = parser.parse_args()
    flush_denormals()
    keep_freed_memory()  # as `n3denoise train` does
    images = ImageSet.read(arguments.sources)
    device = torch.device(arguments.device)
    lines = [
        row_of(
            *("batch-norm statistics", "crop, px", "batch"),
            *("crops per second", "crops per processor second", "megapixels per processor second"),
        ),
        "|---" * 6 + "|",
    ]
    parts: dict[str, dict[str, float]] = {}
    for frozen, name in STATISTICS.items():
        for crop, batch in ((80, arguments.batch), (100, max(1, arguments.batch * 5 // 8)), (160, max(1, arguments.batch // 4))):
            recipe = replace(Recipe(), crop=crop, batch=batch, freeze_statistics=frozen)
            trainer = Trainer(fresh_network(N3NetConfig().build, recipe.seed), images, recipe, device)
            if arguments.compile:
                trainer.compile()
            speed, frugality = measure(trainer, arguments.steps)
            pixels = frugality * crop * crop / 1e6
            lines.append(f"| {name} | {crop} | {batch} | {speed:.2f} | {frugality:.2f} | {pixels:.4f} |")
            if name not in parts:
                parts[name] = shares(trainer)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    where = f"{machine}, threads: {torch.get_num_threads()}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    text = [
        "# Training speed",
        "",
        f"Measured by `python -m benchmarks.training.speed`: {where}.",
        "",
        paragraph(
            "A step consists of crops, noise, forward pass, backward pass, gradient clipping, optimizer and weight average.",
            "Processor time is summed over all threads; it is the better measure on a machine that does other work too.",
        ),
        "",
        *lines,
        "",
        f"Share of the operations in the time of a step with {arguments.batch} crops of 80 px, by batch-norm statistics:",
        "",
        f"| operations | {' | '.join(parts)} |",
        "|---" * (len(parts) + 1) + "|",
        *(f"| {group} | {' | '.join(f'{part[group]:.0%}' for part in parts.values())} |" for group in next(iter(parts.values()))),
    ]
    OUT.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
