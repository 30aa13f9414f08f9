"""Quality, time and memory of n3denoise and of other denoisers, measured in one run.

`python -m benchmarks.quality.comparison` writes comparison.md and comparison.svg. Each method runs in a process of its own, on
images of rising size, up to the size for which it is expected to exceed the time limit. `--set12 FOLDER` adds the PSNR that
bfloat16 costs on the images of a folder.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.provenance import RESULTS, ROOT
from benchmarks.quality.comparison_report import (
    DTYPES,
    EVERY_SIZE,
    NETWORKS,
    Measurement,
    Results,
    Size,
    megapixels,
    plot,
    report,
    size_name,
)
from benchmarks.quality.methods import METHODS
from models.images.files import image_files, read_gray
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser

SIZES = ((256, 256), (512, 512), (1024, 1024), (1024, 2048), (2048, 2048), (3000, 4000), (4000, 6000))
QUICK_SIZES = ((24, 32), (48, 64))
STRIP_SIZES = ((768, 1024), (321, 481), (1201, 97), (40, 3000))
LIMIT = 30.0
"""Time limit for one image, in seconds."""


def child(*arguments: object) -> str:
    """Run `benchmarks.quality.methods` in a process of its own and return its output.

    Raises:
        CalledProcessError: If it fails.
    """
    command = [sys.executable, "-m", "benchmarks.quality.methods", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def measure(methods: list[str], sizes: tuple[Size, ...], limit: float) -> Results:
    """Run each method on each size; a text instead of a measurement states why there is none."""
    results: Results = {}
    for name in methods:
        results[name] = {}
        known: tuple[int, float] | None = None
        for size in sizes:
            pixels = size[0] * size[1]
            if known and name not in EVERY_SIZE and known[1] * pixels / known[0] > limit:
                results[name][size] = f"over {limit:.0f} s"
                continue
            try:
                entry = Measurement(**json.loads(child(name, *size)))
            except subprocess.CalledProcessError as error:
                missing = "ModuleNotFoundError" in error.stderr
                results[name][size] = "not installed" if missing else f"failed ({error.stderr.strip().splitlines()[-1]})"
                if missing:
                    break
                continue
            results[name][size] = entry
            known = pixels, entry.seconds
            print(f"{name}, {size[1]} x {size[0]}: {entry.seconds:.2f} s", file=sys.stderr, flush=True)
    return results


def strip_table(sizes: tuple[Size, ...]) -> list[str]:
    """Compare one strip with strips of one row, in float32: the largest difference and the peak memory of both, as Markdown."""
    lines = [
        "Computed in float32, with the whole image as one strip and with strips of one row.",
        "",
        "| network | image | largest difference | peak memory, one strip, MiB | peak memory, strips of one row, MiB |",
        "|---|---|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for name in NETWORKS:
                paths = [Path(folder) / f"{rows}.npy" for rows in (0, 1)]
                peaks = []
                for rows, path in enumerate(paths):
                    output = child(name, *size, "--strips", rows, "--save", path)
                    peaks.append(json.loads(output)["peak"] / 2**20)
                whole, cut = (np.load(path) for path in paths)
                difference = float(np.abs(whole - cut).max())
                lines.append(f"| {name} | {size_name(size)} | {difference:.1e} | {peaks[0]:.0f} | {peaks[1]:.0f} |")
                print(lines[-1], file=sys.stderr, flush=True)
    return lines


def half_precision(folder: Path) -> list[str]:
    """Measure the mean PSNR of both dtypes on the images of a folder, and return it as Markdown."""
    name = folder.resolve().name
    lines = [f"Mean PSNR of the {len(image_files(folder))} images of {name}, with noise seeded by the image's index.", ""]
    lines += ["| network | sigma | bfloat16, dB | float32, dB | loss with bfloat16, dB |", "|---|---:|---:|---:|---:|"]
    images = [read_gray(path) for path in image_files(folder)]
    for network in NETWORKS:
        denoisers = [Denoiser.load(network, device="cpu", dtype=dtype) for dtype in DTYPES]
        for sigma in (15, 25, 50):
            noisy = [add_noise(clean, sigma / 255, index) for index, clean in enumerate(images)]
            means = [
                fmean(psnr(denoiser.denoise(each, sigma / 255), clean) for each, clean in zip(noisy, images, strict=True))
                for denoiser in denoisers
            ]
            lines.append(f"| {network} | {sigma} | {means[0]:.3f} | {means[1]:.3f} | {means[1] - means[0]:.4f} |")
    return lines


def main(words: list[str] | None = None) -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    parser.add_argument("--limit", type=float, default=LIMIT, help="time limit for one image, in seconds")
    parser.add_argument("--largest", type=float, default=24, help="size of the largest image, in megapixels")
    parser.add_argument("--quick", action="store_true", help="use tiny images, only to check that everything works")
    parser.add_argument("--set12", type=Path, help="folder of images on which to compare bfloat16 with float32")
    arguments = parser.parse_args(words)
    sizes = QUICK_SIZES if arguments.quick else tuple(size for size in SIZES if megapixels(size) <= arguments.largest)
    size = sizes[-1] if arguments.quick else (512, 512)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: Results = {}
    strips: list[str] = []
    halves: list[str] = []

    def write() -> None:
        command = "make bench" + (f" SET12={arguments.set12.resolve().name}" if arguments.set12 else "")
        (arguments.out / "comparison.md").write_text(report(results, strips, halves, size, arguments.limit, command))

    # Each part is written at once, so it is kept if the rest is interrupted.
    results = measure(arguments.methods, sizes, arguments.limit)
    plot(results, arguments.out / "comparison.svg")
    write()
    if not arguments.quick:
        strips = strip_table(STRIP_SIZES)
        write()
    if arguments.set12:
        halves = half_precision(arguments.set12)
        write()


if __name__ == "__main__":
    main()
