"""The model for photographs, measured on simulated photographs and on clean pictures.

`python -m benchmarks.quality.photographs FOLDER` writes photographs.md. FOLDER holds clean color images that are neither
training images nor in a test set. The measurement calls the pipeline of the service, as `n3denoise denoise` does.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.markdown import paragraph, row_of
from benchmarks.provenance import RESULTS, provenance
from models.images import color
from models.images.files import image_files, read_rgb8
from models.images.noise_map import channel_level
from models.inference.photo import Photo
from models.methods import Method, load_method
from models.training.photographs.degradation import Degraded, Origin, Variety, degrade, source_side
from models.training.photographs.processing import Compression
from service.cli.denoiser import pass_runner
from service.denoising.estimation import estimate_sigma
from service.denoising.photographs import ModelChoice, denoise_estimated
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions
from service.imaging.picture import Picture

Planes = NDArray[np.float32]

SIDE = 192
AT_LEAST = 40
"""Number of simulated photographs, if the folder holds fewer images."""
FACTORS = (0.6, 0.9, 1.3, 1.8, 2.5)
"""The oracle picks the best sigma among these multiples of the true noise level."""
WHITE_SIGMAS = (10, 25, 50)
QUALITIES = (75, 85, 95)


@dataclass
class Figures:
    """What was measured; levels are on the 0-255 scale.

    Attributes:
        psnr: For each simulated photograph: true level, estimate, and the PSNR in dB of the input, of auto, of photo, and of the
            model for white noise with the best sigma.
        estimates: For each origin of noise: true level, estimate of the network, estimate from patches.
        smoothed: For each photograph of a camera that smooths color: PSNR of the input and of auto.
        changes: For each kind of clean pictures, the mean change of each picture in gray levels.
        white: For each sigma: PSNR of photo and of the white model with the true sigma.
        seconds: Seconds of the estimate and of denoising.
    """

    psnr: list[tuple[float, ...]] = field(default_factory=list)
    estimates: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    smoothed: list[tuple[float, float]] = field(default_factory=list)
    changes: dict[str, list[float]] = field(default_factory=dict)
    white: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    seconds: list[tuple[float, float]] = field(default_factory=list)


class Models:
    """The models, and the pipeline of the service with them."""

    def __init__(self, white: str) -> None:
        photo = load_method("photo")
        assert isinstance(photo, Photo)
        self.white, self.photo = load_method(white), photo
        self.auto = ModelChoice(self.white.info, self.photo.info, automatic=True)
        self.asked = ModelChoice(self.photo.info, self.photo.info, automatic=False)

    def run(self, planes: Planes, models: ModelChoice) -> DenoisedPicture:
        """Denoise a picture whose noise is estimated."""
        runner = pass_runner(self.photo if models is self.asked else self.white, self.photo)
        passes = denoise_estimated(Picture(planes, rgb=len(planes) == 3), DenoisingOptions(None, "rgb"), models)
        answer: Planes | None = None
        while True:
            try:
                answer = runner(passes.send(answer) if answer is not None else next(passes), lambda _: None)
            except StopIteration as end:
                result: DenoisedPicture = end.value
                return result


def as_white(method: Method, planes: Planes, sigma: float) -> Planes:
    """Denoise a picture as one with white noise, with `color=rgb`; sigma is on the 0-255 scale.

    A method without a network for RGB images denoises luma and the color differences one by one.
    """
    if method.info.color:
        return method.denoise(torch.from_numpy(planes), min(sigma, 75) / 255).numpy()
    denoised = [
        method.denoise(torch.from_numpy(plane), min(sigma, 75) / 255 * float(factor)).numpy()
        for plane, factor in zip(color.separate(planes), color.NOISE, strict=True)
    ]
    return color.merge(np.stack(denoised))


def psnr(planes: Planes, clean: Planes) -> float:
    """Return the PSNR in dB of a picture that is clipped to [0, 1] but not rounded."""
    return float(-10 * np.log10(np.square(planes.clip(0, 1) - clean).mean()))


def level(noise: Planes) -> float:
    """Return the root mean square of noise on the 0-255 scale."""
    return float(np.sqrt(np.square(noise, dtype=np.float64).mean()) * 255)


def mean_level(cells: torch.Tensor) -> float:
    """Return the root mean square of the noise level of a channel on the 0-255 scale, for a map (2, h, w)."""
    return float(channel_level(cells).square().mean().sqrt()) * 255


def measure(images: Sequence[Planes], grays: Sequence[Planes], models: Models, say: Callable[[str], None]) -> Figures:
    """Measure everything on clean color images (3, H, W), and the changes also on clean gray ones (1, H, W)."""
    figures = Figures()
    count = max(AT_LEAST, len(images))
    for number in range(count):
        made = simulated(images[number % len(images)], number, "camera")
        began = time.perf_counter()
        cells = models.photo.estimate(torch.from_numpy(made.noisy))
        middle = time.perf_counter()
        models.photo.denoise(torch.from_numpy(made.noisy), cells)
        figures.seconds.append((middle - began, time.perf_counter() - middle))
        auto, photo = models.run(made.noisy, models.auto), models.run(made.noisy, models.asked)
        truth = level(made.noise)
        best = max(psnr(as_white(models.white, made.noisy, factor * truth), made.clean) for factor in FACTORS)
        levels = (truth, auto.sigma)
        results = (psnr(each, made.clean) for each in (made.noisy, auto.picture.planes, photo.picture.planes))
        figures.psnr.append((*levels, *results, best))
        say(f"{number + 1} of {count} simulated photographs")
    for number, image in enumerate(images):
        rng = np.random.default_rng(number)
        white = {sigma: image + np.float32(sigma / 255) * rng.standard_normal(image.shape, np.float32) for sigma in WHITE_SIGMAS}
        for sigma, noisy in white.items():
            told = psnr(as_white(models.white, noisy, sigma), image)
            figures.white.setdefault(sigma, []).append((psnr(models.run(noisy, models.asked).picture.planes, image), told))
        pairs = {f"white, sigma {sigma}": (noisy, image) for sigma, noisy in white.items()}
        for sigma, quality in ((10, 85), (10, 75), (20, 85), (20, 75)):
            noisy = image + np.float32(sigma / 255) * rng.standard_normal(image.shape, np.float32)
            pairs[f"white, sigma {sigma}, JPEG {quality}"] = compressed(noisy, quality), compressed(image, quality)
        counts = rng.poisson(image * 100).astype(np.float32) / np.float32(100)
        pairs["photons, at most 100"] = counts, image
        made = simulated(image, 1000 + number, "camera")
        pairs["camera"] = made.noisy, made.noisy - made.noise
        made = simulated(image, 2000 + number, "camera", color_smoothed=1)
        pairs["camera that smooths color"] = made.noisy, made.noisy - made.noise
        figures.smoothed.append(
            (psnr(made.noisy, made.clean), psnr(models.run(made.noisy, models.auto).picture.planes, made.clean))
        )
        for name, (noisy, twin) in pairs.items():
            patches = estimate_sigma(Picture(noisy, rgb=True), "rgb", (0, 75))[0].sigma
            network = mean_level(models.photo.estimate(torch.from_numpy(noisy)))
            figures.estimates.setdefault(name, []).append((level(noisy - twin), network, patches))
        say(f"{number + 1} of {len(images)} images with noise of several origins")
    for name, pictures in (("color", images), ("gray", grays)):
        for stored in (None, *QUALITIES):
            kind = f"{name}, {f'JPEG {stored}' if stored else 'as they are'}"
            for image in pictures:
                clean = compressed(image, stored) if stored else image
                change = np.abs(models.run(clean, models.auto).picture.planes - clean).mean() * 255
                figures.changes.setdefault(kind, []).append(float(change))
            say(f"clean pictures: {kind}")
    return figures


def simulated(image: Planes, seed: int, origin: Origin, color_smoothed: float = 0.0) -> Degraded:
    """Return a simulated photograph of the middle of an image; `degrade` explains the arguments."""
    side = source_side(SIDE)
    top, left = ((length - side) // 2 for length in image.shape[1:])
    middle = image[:, top : top + side, left : left + side]
    return degrade(middle, SIDE, np.random.default_rng(seed), 0.1, origin, Variety(color_smoothed=color_smoothed))


def compressed(planes: Planes, quality: int) -> Planes:
    """Return a picture after JPEG compression with halved color resolution."""
    picture = Compression(quality, halved=True, offset=(0, 0)).apply(np.broadcast_to(planes, (3, *planes.shape[1:])).clip(0, 1))
    return picture if len(planes) == 3 else picture.mean(0, keepdims=True)


def page(figures: Figures, white: str, count: int) -> str:
    """Return photographs.md."""
    truth, estimate, noisy, auto, photo, best = np.array(figures.psnr).T
    off, median = np.abs(estimate / truth - 1), np.median(truth)
    changes = max(max(values) for values in figures.changes.values())
    estimating, denoising = np.array(figures.seconds).T
    lines = [
        *("# Photographs", "", f"Measured by `python -m benchmarks.quality.photographs`: {provenance()}.", ""),
        paragraph(
            f"{count} clean color images. A simulated photograph is {SIDE} x {SIDE} pixels. Its noise is drawn as in training,",
            "with other seeds. The true noise level is the root mean square of the difference from the same picture",
            "without noise. PSNR is over all channels, clipped but not rounded. The model for white noise is",
            f"`{white}` with `color=rgb`, told the best of {len(FACTORS)} multiples of the true level.",
        ),
        *("", "## Simulated photographs", ""),
        row_of("", "mean PSNR, dB", "gain, dB"),
        row_of("---", "---", "---"),
        row_of("input", f"{noisy.mean():.2f}", ""),
        row_of(f"`{white}`, best sigma for each picture", f"{best.mean():.2f}", f"{(best - noisy).mean():+.2f}"),
        row_of("`auto`", f"{auto.mean():.2f}", f"{(auto - noisy).mean():+.2f}"),
        row_of("`photo`, sigma estimated", f"{photo.mean():.2f}", f"{(photo - noisy).mean():+.2f}"),
        "",
        paragraph(
            f"{len(truth)} pictures, with noise levels from {truth.min():.1f} to {truth.max():.1f} (median {median:.1f}).",
            f"The estimate is within 25 % of the true level for {np.mean(off <= 0.25):.0%} of them, and for"
            f" {np.mean(off[truth >= 5] <= 0.25):.0%} of those with a level of at least 5.",
            f"`photo` makes {np.sum(photo < noisy)} of them worse, by at most {max(0.0, float((noisy - photo).max())):.2f} dB.",
            f"Where the camera smooths color strongly, in {len(figures.smoothed)} other pictures, `auto` gains"
            f" {fmean(auto - noisy for noisy, auto in figures.smoothed):+.2f} dB.",
        ),
        *("", "## Estimates by origin", ""),
        row_of("noise", "mean level", "network: within 25 %", "median ratio", "patches: within 25 %", "median ratio"),
        row_of(*["---"] * 6),
    ]
    for name, rows in figures.estimates.items():
        true, network, patches = np.array(rows).T
        cells = [name, f"{true.mean():.1f}"]
        for each in (network, patches):
            cells += [f"{np.mean(np.abs(each / true - 1) <= 0.25):.0%}", f"{np.median(each / true):.2f}"]
        lines.append(row_of(*cells))
    lines += [
        *("", "## White noise", ""),
        row_of("sigma", "`photo`, estimated", f"`{white}`, told", "difference"),
        row_of(*["---"] * 4),
    ]
    for sigma, pairs in figures.white.items():
        ours, told = (fmean(column) for column in zip(*pairs, strict=True))
        lines.append(row_of(sigma, f"{ours:.2f}", f"{told:.2f}", f"{ours - told:+.2f}"))
    lines += [*("", "## Clean pictures", ""), row_of("pictures", "mean change, gray levels", "largest"), row_of(*["---"] * 3)]
    lines += [row_of(kind, f"{fmean(values):.3f}", f"{max(values):.3f}") for kind, values in figures.changes.items()]
    lines += [
        "",
        paragraph(
            f"With `auto`, no clean picture changes by more than {changes:.2f} gray levels on average.",
            f"An estimate takes {np.median(estimating / denoising):.2f} of the time of denoising.",
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of clean color images")
    parser.add_argument("--only", nargs="*", help="names of the images to use; all by default")
    parser.add_argument("--gray", type=Path, help="folder of clean pictures, such as Set12, for false alarms")
    parser.add_argument("--white", default="n3unet", help="model for white noise to compare with")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)  # at once, because the measurement takes long
    files = [path for path in image_files(arguments.folder) if not arguments.only or path.stem in arguments.only]
    images = [unit(read_rgb8(path)) for path in files]
    grays = [unit(read_rgb8(path))[:1] for path in image_files(arguments.gray)] if arguments.gray else []
    figures = measure(images, grays, Models(arguments.white), lambda text: print(text, file=sys.stderr, flush=True))
    (arguments.out / "photographs.md").write_text(page(figures, arguments.white, len(images)))


def unit(pixels: NDArray[np.uint8]) -> Planes:
    """Return 8-bit RGB (H, W, 3) as planes (3, H, W) in [0, 1]."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)


if __name__ == "__main__":
    main()
