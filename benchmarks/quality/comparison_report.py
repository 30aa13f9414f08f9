"""The report of the comparison: a page with tables, and a plot."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.plots import svg_figure
from benchmarks.provenance import commit, cpu, cpu_name
from benchmarks.quality.methods import matrix_peak
from models import machine
from models.inference.device import DType
from models.networks.n3net import N3NetConfig
from models.weights.files import load_weights

DTYPES: tuple[DType, ...] = ("bfloat16", "float32")
EVERY_SIZE = "n3denoise bfloat16"
"""The method that runs on every size even if it exceeds the time limit, for the claims about 24 megapixels."""
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


def convolution_flops(config: N3NetConfig) -> int:
    """Return the floating-point operations of all convolutions per pixel; a multiply-add counts as two."""
    joined, middle = config.planes * (1 + config.k), (config.depth - 2) * config.features**2
    total = 0
    for index in range(config.blocks + 1):
        before = (2 if config.sigma_plane else 1) if index == 0 else joined
        after = 1 if index == config.blocks else config.planes
        total += before * config.features + middle + config.features * after
    total += config.blocks * (
        2 * config.planes * config.embedding + 2 * config.embedding**2 + config.embedding * (config.planes + 1)
    )
    return 2 * 9 * total


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
    for dtype in DTYPES:
        for name, bound in ((f"DnCNN-17 {dtype}", 2.0), ("bm3d", 1 / 6)):
            ours, theirs = at(f"n3denoise {dtype}", (512, 512)), at(name, (512, 512))
            if ours and theirs and (dtype == "bfloat16" or name != "bm3d"):
                what = f"512 x 512, {dtype}: time divided by that of {name}"
                lines.append(row(what, ours.seconds / theirs.seconds, bound))
                lines.append(row(f"{what}, in core seconds", ours.core_seconds / theirs.core_seconds, bound))
    one, most = at(EVERY_SIZE, (1024, 1024)), at(EVERY_SIZE, (4000, 6000))
    if one and most:
        flat = most.seconds / megapixels((4000, 6000)) / (one.seconds / megapixels((1024, 1024)))
        lines.append(row("seconds per megapixel at 24 MP divided by those at 1 MP", flat, 1.1))
        flat = most.core_seconds / megapixels((4000, 6000)) / (one.core_seconds / megapixels((1024, 1024)))
        lines.append(row("core seconds per megapixel at 24 MP divided by those at 1 MP", flat, 1.1))
        lines.append(row("peak memory at 24 MP", most.peak / 2**30, 3, " GiB"))
        growth = (most.peak - one.peak) / (4000 * 6000 - 1024 * 1024)
        lines.append(row("growth of the peak memory from 1 MP to 24 MP, bytes per pixel", growth, 80))
    return lines if len(lines) > 2 else []


def limits(results: Results, size: Size) -> list[str]:
    """Compare the speed of the convolutions alone with that of matrix products, as Markdown."""
    lines = [
        "| dtype | matrix products, TFLOP/s | convolutions, TFLOP | seconds | share of the speed of matrix products |",
        "|---|---:|---:|---:|---:|",
    ]
    work = convolution_flops(N3NetConfig()) * size[0] * size[1]
    for dtype in DTYPES:
        entry = results.get(f"n3denoise {dtype}", {}).get(size)
        if isinstance(entry, Measurement):
            best = matrix_peak(dtype)
            share = work / best / entry.seconds
            lines.append(f"| {dtype} | {best / 1e12:.3f} | {work / 1e12:.3f} | {entry.seconds:.3f} | {share:.0%} |")
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
            style = "-" if name.startswith("n3denoise") else "--" if name.startswith("DnCNN") else ":"
            time_axes.plot(across, [entry.seconds / pixels for pixels, entry in points], style, marker=".", label=name)
            memory_axes.plot(across, [entry.peak / 2**20 for _, entry in points], style, marker=".")
        time_axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="seconds per megapixel", title="Time")
        memory_axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="peak resident memory, MiB", title="Memory")
        for axes in (time_axes, memory_axes):
            axes.grid(visible=True, which="both", alpha=0.2)
        figure.legend(loc="outside right center", frameon=False, fontsize="small")


def environment() -> list[str]:
    """Return date, machine, versions and commit as a Markdown list."""
    import torch

    flags = cpu().get("flags", "").split()
    formats = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"- Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- Machine: {cpu_name()}, {machine.usable_cores()} cores, {memory:.0f} GiB of memory; {', '.join(formats)}",
        f"- System load at the end: {', '.join(f'{load:.1f}' for load in os.getloadavg())} over 1, 5 and 15 minutes",
        f"- Versions: Python {platform.python_version()}, PyTorch {torch.__version__}",
        f"- Commit: {commit('models', 'benchmarks/quality')}",
        f"- Weights: {load_weights().sha256[:12]}",
    ]


CONDITIONS = """\
The image is scikit-image's "camera", cropped or mirrored to size, with noise of sigma 25 on the 0-255 scale. Seconds are the
shortest time of up to seven runs within six seconds, or the time of a single longer run. Core seconds are the processor time of
all cores, including threads that wait for others. Memory is the peak resident size of a process that does nothing else. DnCNN-17
has random weights; it is there for time and memory. No method is run on images for which it would take more than {limit:.0f} s,
except n3denoise in bfloat16, which is run on every size. float16 is not listed, because it is for GPUs."""
GPU = """\
## GPU

This page has no figures of a GPU. `python -m benchmarks.cuda` measures them."""


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
