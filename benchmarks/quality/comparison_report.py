"""The report of the comparison: a page with tables, and a plot."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plots import svg_figure
from benchmarks.provenance import commit, cpu, cpu_name
from benchmarks.quality.methods import matrix_peak
from models import machine
from models.inference.device import DType
from models.networks.config import DEFAULT_CONFIGS, NetworkConfig
from models.weights.files import load_weights

DTYPES: tuple[DType, ...] = ("bfloat16", "float32")
NETWORKS = ("n3net", "n3unet")
"""The networks of the project that are compared."""
EVERY_SIZE = tuple(f"{name} bfloat16" for name in NETWORKS)
"""The methods that run on every size even if they exceed the time limit, for the claims about 24 megapixels."""
BOUNDS = {
    ("n3net bfloat16", "DnCNN-17 bfloat16"): 2.0,
    ("n3net bfloat16", "bm3d"): 1 / 6,
    ("n3net float32", "DnCNN-17 float32"): 2.0,
    ("n3unet bfloat16", "DnCNN-17 bfloat16"): 0.6,
    ("n3unet bfloat16", "n3net bfloat16"): 0.4,
}
"""What the time of a method for 512 x 512 pixels may be, divided by that of another one."""
MOST_MEMORY = {"n3net bfloat16": 3.0, "n3unet bfloat16": 2.0}
"""What the peak memory for 24 megapixels may be, in GiB."""
Size = tuple[int, int]


@dataclass(frozen=True)
class Measurement:
    """Figures of one method on one image.

    Attributes:
        seconds: Shortest time of a few runs.
        core_seconds: Shortest processor time of a few runs, summed over all cores, including threads that spin while they wait.
        psnr: PSNR in dB; None for a network with random weights.
        idle: Resident memory in bytes before the image, after a small one.
        peak: Peak of the resident memory in bytes.
    """

    seconds: float
    core_seconds: float
    psnr: float | None
    idle: int
    peak: int


Results = dict[str, dict[Size, Measurement | str]]


def convolution_flops(config: NetworkConfig) -> float:
    """Return the floating-point operations of all convolutions per pixel; a multiply-add counts as two."""
    side = 48
    image = torch.zeros(1, config.channels, side, side, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        config.build().double().eval()(image, torch.tensor(0.1))
    count: int = counter.get_flop_counts()["Global"][torch.ops.aten.convolution]
    return count / side**2


def size_name(size: Size) -> str:
    """Return a size as text: width x height."""
    return f"{size[1]} x {size[0]}"


def megapixels(size: Size) -> float:
    """Return the number of pixels in millions."""
    return size[0] * size[1] / 1e6


def table(results: Results) -> list[str]:
    """Return the table of all measurements as Markdown."""
    lines = [
        "| method | image | PSNR, dB | seconds | seconds per megapixel | core seconds | peak memory, MiB | above idle, MiB |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, sizes in results.items():
        for size, entry in sizes.items():
            if isinstance(entry, str):
                lines.append(f"| {name} | {size_name(size)} | | {entry} | | | | |")
                continue
            quality = "-" if entry.psnr is None else f"{entry.psnr:.2f}"
            each, above = entry.seconds / megapixels(size), max(0, entry.peak - entry.idle)
            lines.append(
                f"| {name} | {size_name(size)} | {quality} | {entry.seconds:.3f} | {each:.2f} | {entry.core_seconds:.3f} "
                f"| {entry.peak / 2**20:.0f} | {above / 2**20:.0f} |"
            )
    return lines


def ratios(results: Results) -> list[str]:
    """Return the figures that have a bound, as a Markdown table."""

    def at(name: str, size: Size) -> Measurement | None:
        entry = results.get(name, {}).get(size)
        return entry if isinstance(entry, Measurement) else None

    def row(what: str, value: float, bound: float, unit: str = "") -> str:
        return f"| {what} | {value:.3g}{unit} | {bound:.3g}{unit} | {'yes' if value <= bound else 'no'} |"

    lines = ["| figure | measured | bound | met |", "|---|---:|---:|---|"]
    for (name, other), bound in BOUNDS.items():
        ours, theirs = at(name, (512, 512)), at(other, (512, 512))
        if ours and theirs:
            what = f"512 x 512: time of {name} divided by that of {other}"
            lines.append(row(what, ours.seconds / theirs.seconds, bound))
            lines.append(row(f"{what}, in core seconds", ours.core_seconds / theirs.core_seconds, bound))
    for name, most_memory in MOST_MEMORY.items():
        one, most = at(name, (1024, 1024)), at(name, (4000, 6000))
        if one and most:
            flat = most.seconds / megapixels((4000, 6000)) / (one.seconds / megapixels((1024, 1024)))
            lines.append(row(f"{name}: seconds per megapixel at 24 MP divided by those at 1 MP", flat, 1.1))
            flat = most.core_seconds / megapixels((4000, 6000)) / (one.core_seconds / megapixels((1024, 1024)))
            lines.append(row(f"{name}: core seconds per megapixel at 24 MP divided by those at 1 MP", flat, 1.1))
            lines.append(row(f"{name}: peak memory at 24 MP", most.peak / 2**30, most_memory, " GiB"))
            growth = (most.peak - one.peak) / (4000 * 6000 - 1024 * 1024)
            lines.append(row(f"{name}: growth of the peak memory from 1 MP to 24 MP, bytes per pixel", growth, 80))
    return lines if len(lines) > 2 else []


def limits(results: Results, size: Size) -> list[str]:
    """Compare the speed of the convolutions alone with that of matrix products, as Markdown."""
    lines = [
        "| network | matrix products, TFLOP/s | convolutions, TFLOP | seconds | share of the speed of matrix products |",
        "|---|---:|---:|---:|---:|",
    ]
    for dtype in DTYPES:
        best = 0.0
        for name in NETWORKS:
            entry = results.get(f"{name} {dtype}", {}).get(size)
            if isinstance(entry, Measurement):
                best = best or matrix_peak(dtype)
                work = convolution_flops(DEFAULT_CONFIGS[name]) * size[0] * size[1]
                share = work / best / entry.seconds
                figures = f"{best / 1e12:.3f} | {work / 1e12:.3f} | {entry.seconds:.3f} | {share:.0%}"
                lines.append(f"| {name} {dtype} | {figures} |")
    return lines if len(lines) > 2 else []


def plot(results: Results, path: Path) -> None:
    """Draw time and memory over the size of the image."""
    with svg_figure(path, 11, 4.2) as figure:
        time_axes, memory_axes = figure.subplots(1, 2)
        for name, sizes in results.items():
            points = [(megapixels(size), entry) for size, entry in sizes.items() if isinstance(entry, Measurement)]
            if not points:
                continue
            across = [pixels for pixels, _ in points]
            style = "-" if name.startswith(NETWORKS) else "--" if name.startswith("DnCNN") else ":"
            time_axes.plot(across, [entry.seconds / pixels for pixels, entry in points], style, marker=".", label=name)
            memory_axes.plot(across, [entry.peak / 2**20 for _, entry in points], style, marker=".")
        time_axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="seconds per megapixel", title="Time")
        memory_axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="peak resident memory, MiB", title="Memory")
        for axes in (time_axes, memory_axes):
            axes.grid(visible=True, which="both", alpha=0.2)
        figure.legend(loc="outside right center", frameon=False, fontsize="small")


def environment() -> list[str]:
    """Return date, machine, versions and commit as a Markdown list."""
    flags = cpu().get("flags", "").split()
    formats = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"- Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- Machine: {cpu_name()}, {machine.usable_cores()} cores, {memory:.0f} GiB of memory; {', '.join(formats)}",
        f"- System load at the end: {', '.join(f'{load:.1f}' for load in os.getloadavg())} over 1, 5 and 15 minutes",
        f"- Versions: Python {platform.python_version()}, PyTorch {torch.__version__}",
        f"- Commit: {commit('models', 'benchmarks/quality')}",
        f"- Weights: {', '.join(f'{name} {load_weights(name).sha256[:12]}' for name in NETWORKS)}",
    ]


CONDITIONS = """\
The image is scikit-image's "camera", cropped or mirrored to size, with noise of sigma 25 on the 0-255 scale. Seconds are the
shortest time of up to seven runs within six seconds, or the time of a single longer run. Core seconds are the processor time of
all cores, including threads that wait for others. Memory is the peak resident size of a process that does nothing else. DnCNN-17
has random weights; it is there for time and memory. No method is run on images for which it would take more than {limit:.0f} s,
except the project's networks in bfloat16, which run on every size. float16 is not listed, because it is for GPUs."""
GPU = """\
## GPU

This page has no figures of a GPU. [cuda.md](cuda.md) has them, measured by `python -m benchmarks.cuda`."""


def report(results: Results, strips: list[str], halves: list[str], size: Size, limit: float, command: str) -> str:
    """Return comparison.md."""
    plotted = "![Time and memory over the size of the image](comparison.svg)"
    parts = [
        "# Comparison with other denoisers",
        f"Measured by `{command}` in one run.",
        "\n".join(environment()),
        CONDITIONS.format(limit=limit),
        "\n".join(table(results)),
        plotted,
    ]
    sections = {
        "Bounds": ratios(results),
        f"Speed of the convolutions, {size_name(size)}": limits(results, size),
        "The result does not depend on the strips": strips,
        "Loss of quality with bfloat16": halves,
    }
    parts += [f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines]
    return "\n\n".join([*parts, GPU]) + "\n"
