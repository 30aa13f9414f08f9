"""The methods that the service offers, side by side on pictures that come with scikit-image."""

import time

import torch
from torch import Tensor

from models.images.metrics import psnr
from models.images.noise import add_noise
from models.methods import load_method, method_names
from studies.report import Options, Report, panel
from studies.small_budget import TESTED_ON, center, gray

SIGMAS = (15, 25, 50, 70)
SHOWN = ("camera", 50)
PART = 120  # side of the part that is shown, in pixels


def run(options: Options) -> None:
    report = Report(options, "methods.md")
    side = 40 if options.quick else 256
    pictures = {name: center(gray(name), side) for name in TESTED_ON}
    threads = torch.get_num_threads()
    methods = {name: load_method(name, device="cpu") for name in method_names()}
    rows: list[list[str]] = []
    shown: dict[str, Tensor] = {}
    for name, method in methods.items():
        means, seconds = [], 0.0
        method.denoise(next(iter(pictures.values())), SIGMAS[0] / 255)  # the first image takes longer
        for sigma in SIGMAS:
            results = []
            for seed, (picture, clean) in enumerate(pictures.items()):
                noisy = add_noise(clean, sigma / 255, seed)
                start = time.process_time()  # other work on the machine hardly changes it
                denoised = method.denoise(noisy, sigma / 255)
                seconds += time.process_time() - start
                results.append(psnr(denoised, clean))
                if (picture, sigma) == SHOWN:
                    shown |= {"clean": clean, "noisy": noisy, name: denoised}
            means.append(sum(results) / len(results))
        rows.append([name, *(f"{mean:.2f}" for mean in means), f"{seconds / len(SIGMAS) / len(pictures):.2f}"])
    torch.set_num_threads(threads)
    report.table("methods", ("mean PSNR, dB, at sigma", *map(str, SIGMAS), "processor seconds per image"), rows)
    draw(report, shown)


def draw(report: Report, shown: dict[str, Tensor]) -> None:
    """Draw a part of one picture, denoised by each method."""
    with report.figure("methods.png", width=10.0, height=0.2 + 10.0 / len(shown)) as figure:
        axes = figure.subplots(1, len(shown))
        for axis, (name, picture) in zip(axes, shown.items(), strict=True):
            title = name if name == "clean" else f"{name}, {psnr(picture, shown['clean']):.2f} dB"
            panel(axis, picture[:PART, :PART], title)
