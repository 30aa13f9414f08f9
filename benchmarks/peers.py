"""n3denoise beside what a user would pick instead: quality, time and memory, in one run, into one table.

`python -m benchmarks.peers` writes RESULTS.md and growth.svg beside this file. Each method runs in a process of its own, at each
size up to what it is expected to finish within the limit. `--set12 FOLDER` adds what half precision costs on those images.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.methods import METHODS
from benchmarks.peers_report import DTYPES, EVERY_SIZE, Measurement, Results, Size, megapixels, plot, report, size_name
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser
from models.training.image_set import image_files, read_gray

HERE = Path(__file__).parent
SIZES = ((256, 256), (512, 512), (1024, 1024), (1024, 2048), (2048, 2048), (3000, 4000), (4000, 6000))
QUICK_SIZES = ((24, 32), (48, 64))
STRIP_SIZES = ((768, 1024), (321, 481), (1201, 97), (40, 3000))
LIMIT = 60.0
"""Seconds for one image."""


def child(*arguments: object) -> str:
    """Run `benchmarks.methods` in a process of its own and return what it prints; raise CalledProcessError if it fails."""
    command = [sys.executable, "-m", "benchmarks.methods", *map(str, arguments)]
    return subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True, text=True).stdout


def measure(methods: list[str], sizes: tuple[Size, ...], limit: float) -> Results:
    """Run each method at each size, or say why not."""
    results: Results = {}
    for name in methods:
        results[name] = {}
        known: tuple[int, float] | None = None
        for size in sizes:
            pixels = size[0] * size[1]
            if known and name != EVERY_SIZE and known[1] * pixels / known[0] > limit:
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
    """Return how much one strip and the smallest differ, float32, and the peak memory of both, as Markdown."""
    lines = [
        "float32; the smallest strips are of one row.",
        "",
        "| image | input planes | largest difference | peak, one strip, MiB | peak, smallest strips, MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for planes in (1, 2):
                paths = [Path(folder) / f"{rows}.npy" for rows in (0, 1)]
                peaks = []
                for rows, path in enumerate(paths):
                    output = child("n3denoise float32", *size, "--strips", rows, "--planes", planes, "--save", path)
                    peaks.append(json.loads(output)["peak"] / 2**20)
                whole, cut = (np.load(path) for path in paths)
                difference = float(np.abs(whole - cut).max())
                lines.append(f"| {size_name(size)} | {planes} | {difference:.1e} | {peaks[0]:.0f} | {peaks[1]:.0f} |")
                print(lines[-1], file=sys.stderr, flush=True)
    return lines


def half_precision(folder: Path) -> list[str]:
    """Return the mean PSNR of both dtypes on the images of a folder, noise seeded by the image's index, as Markdown."""
    denoisers = [Denoiser.load(device="cpu", dtype=dtype) for dtype in DTYPES]
    name = folder.resolve().name
    lines = [f"Mean PSNR over the {len(image_files(folder))} images of {name}.", ""]
    lines += ["| sigma | bfloat16, dB | float32, dB | cost of bfloat16, dB |", "|---:|---:|---:|---:|"]
    images = [read_gray(path) for path in image_files(folder)]
    for sigma in (15, 25, 50):
        means = []
        for denoiser in denoisers:
            figures = []
            for index, clean in enumerate(images):
                noisy = add_noise(clean, sigma / 255, index)
                figures.append(psnr(denoiser.denoise(noisy, sigma / 255), clean))
            means.append(sum(figures) / len(figures))
        lines.append(f"| {sigma} | {means[0]:.3f} | {means[1]:.3f} | {means[1] - means[0]:.4f} |")
    return lines


def main(words: list[str] | None = None) -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one image")
    parser.add_argument("--largest", type=float, default=24, help="megapixels of the largest image")
    parser.add_argument("--quick", action="store_true", help="tiny images, to see that all works")
    parser.add_argument("--set12", type=Path, help="folder of the images to compare dtypes on")
    arguments = parser.parse_args(words)
    sizes = QUICK_SIZES if arguments.quick else tuple(size for size in SIZES if megapixels(size) <= arguments.largest)
    size = sizes[-1] if arguments.quick else (512, 512)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: Results = {}
    strips: list[str] = []
    halves: list[str] = []

    def write() -> None:
        command = "make bench" + (f" SET12={arguments.set12.resolve().name}" if arguments.set12 else "")
        (arguments.out / "RESULTS.md").write_text(report(results, strips, halves, size, arguments.limit, command))

    # What is measured is written at once: it stays when the rest is stopped.
    results = measure(arguments.methods, sizes, arguments.limit)
    plot(results, arguments.out / "growth.svg")
    write()
    if not arguments.quick:
        strips = strip_table(STRIP_SIZES)
        write()
    if arguments.set12:
        halves = half_precision(arguments.set12)
        write()


if __name__ == "__main__":
    main()
