"""RESULTS.md and growth.svg: what was measured of each method, as a table, as ratios and as a plot."""

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.methods import matrix_peak
from models import machine
from models.inference.denoiser import DType
from models.networks.n3net import N3NetConfig
from models.weights.files import load_weights

HERE = Path(__file__).parent
DTYPES: tuple[DType, ...] = ("bfloat16", "float32")
EVERY_SIZE = "n3denoise bfloat16"
"""The method that runs at every size whatever it takes, for the claims about 24 megapixels."""
Size = tuple[int, int]


@dataclass(frozen=True)
class Measurement:
    """What one method took for one image.

    Attributes:
        seconds: Best of a few runs.
        core_seconds: What the processor's cores spent on it, all together, threads that wait for others included.
        psnr: dB, None where random weights make none.
        idle: Resident bytes before the image, after a first small one.
        peak: Most resident bytes ever.
    """

    seconds: float
    core_seconds: float
    psnr: float | None
    idle: int
    peak: int


Results = dict[str, dict[Size, Measurement | str]]


def convolution_flops(config: N3NetConfig) -> int:
    """Return the floating-point operations of all convolutions for a pixel, a multiplication and an addition being two."""
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
    """Return width x height, as one says it."""
    return f"{size[1]} x {size[0]}"


def megapixels(size: Size) -> float:
    """Return millions of pixels."""
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
    """Return what the figures say about n3denoise, as Markdown rows with the bound beside each."""

    def at(name: str, size: Size) -> Measurement | None:
        entry = results.get(name, {}).get(size)
        return entry if isinstance(entry, Measurement) else None

    def row(what: str, value: float, bound: float, unit: str = "") -> str:
        return f"| {what} | {value:.3g}{unit} | {bound:.3g}{unit} | {'yes' if value <= bound else 'no'} |"

    lines = ["| what | measured | at most | holds |", "|---|---:|---:|---|"]
    for dtype in DTYPES:
        for name, bound in ((f"DnCNN-17 {dtype}", 2.0), ("bm3d", 1 / 6)):
            ours, theirs = at(f"n3denoise {dtype}", (512, 512)), at(name, (512, 512))
            if ours and theirs and (dtype == "bfloat16" or name != "bm3d"):
                what = f"512 x 512, {dtype}: time over that of {name}"
                lines.append(row(what, ours.seconds / theirs.seconds, bound))
                lines.append(row(f"{what}, core seconds", ours.core_seconds / theirs.core_seconds, bound))
    one, most = at(EVERY_SIZE, (1024, 1024)), at(EVERY_SIZE, (4000, 6000))
    if one and most:
        flat = most.seconds / megapixels((4000, 6000)) / (one.seconds / megapixels((1024, 1024)))
        lines.append(row("seconds per megapixel at 24 MP over those at 1 MP", flat, 1.1))
        flat = most.core_seconds / megapixels((4000, 6000)) / (one.core_seconds / megapixels((1024, 1024)))
        lines.append(row("core seconds per megapixel at 24 MP over those at 1 MP", flat, 1.1))
        lines.append(row("peak memory at 24 MP", most.peak / 2**30, 3, " GiB"))
        growth = (most.peak - one.peak) / (4000 * 6000 - 1024 * 1024)
        lines.append(row("growth of the peak from 1 MP to 24 MP, bytes a pixel", growth, 80))
    return lines if len(lines) > 2 else []


def limits(results: Results, size: Size) -> list[str]:
    """Return the share of the physical limit that the convolutions alone come to, as Markdown."""
    lines = [
        "| dtype | matrix products, TFLOP/s | convolutions, TFLOP | seconds | share of the limit |",
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
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "n3denoise"
    from matplotlib import pyplot as plt

    figure, (time_axes, memory_axes) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
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
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def git(*words: str) -> str:
    """Return what git says, or nothing where it has nothing to say."""
    return subprocess.run(["git", *words], cwd=HERE.parent, capture_output=True, text=True, check=False).stdout.strip()


def environment() -> list[str]:
    """Return date, machine, versions and commit as a Markdown list."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    formats = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags]
    name = facts.get("model name", platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = git("rev-parse", "--short=10", "HEAD")
    if git("status", "--porcelain", "--", "models", "benchmarks/peers.py", "benchmarks/methods.py"):
        commit += ", with changes"
    return [
        f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        f"- Machine: {name}, {machine.usable_cores()} cores, {memory:.0f} GiB of memory; {', '.join(formats)}",
        f"- Load when written: {', '.join(f'{load:.1f}' for load in os.getloadavg())} over 1, 5 and 15 minutes",
        f"- Versions: Python {platform.python_version()}, PyTorch {torch.__version__}",
        f"- Commit: {commit or 'unknown'}",
        f"- Weights: {load_weights().sha256[:12]}",
    ]


CONDITIONS = """\
Image: scikit-image's camera man, cut or mirrored to size, sigma 25 on the 0-255 scale. Seconds: the best of up to seven runs in
six seconds, or the only one. Core seconds: what all cores spent on it, threads that wait for others included. Memory: peak
resident size of a process that does nothing else. DnCNN-17 has random weights: time and memory are what it is here for. An
image that would take a method more than {limit:.0f} s is left out; n3denoise in bfloat16 is run at every size. float16 is for
GPUs."""
OWED = """\
## Owed

Figures of a GPU: none was at hand, and the N3 block's CUDA kernel was run under Triton's interpreter alone. `python -m
benchmarks.cuda` takes them."""


def report(results: Results, strips: list[str], halves: list[str], size: Size, limit: float, command: str) -> str:
    """Return RESULTS.md."""
    plotted = "![Time and memory over the size of the image](growth.svg)"
    parts = [
        "# Results",
        f"Written by `{command}` in one run.",
        "\n".join(environment()),
        CONDITIONS.format(limit=limit),
        "\n".join(table(results)),
        plotted,
    ]
    sections = {
        "What it comes to": ratios(results),
        f"Share of the physical limit, {size_name(size)}": limits(results, size),
        "The result does not depend on the strips": strips,
        "What bfloat16 costs, noise seeded by the image's index": halves,
    }
    parts += [f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines]
    return "\n\n".join([*parts, OWED]) + "\n"
